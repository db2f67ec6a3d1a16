"""A model's tokenizer and its figures without its weights: all that a plan needs. Nothing here loads torch."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import models
from pipeline.errors import BadConfiguration
from pipeline.models import EMBEDDED, Model

UNKNOWN = ""
"""The revision of a folder without weights: whether an answer in the store is this model's own cannot be told."""
_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
_TOKENIZER = ("tokenizer.json", "tokenizer.model", "vocab.json")


@contextmanager
def without_torch() -> Iterator[None]:
    """While open, an import of torch fails: transformers takes its tokenizers alone and is there in 3 s, not 20.

    It asks only once, so this is for a process that will load no model. Does nothing where either is imported already.
    """
    if "torch" in sys.modules or "transformers" in sys.modules:
        yield
        return
    sys.modules["torch"] = None  # type: ignore[assignment] # as Python's documentation has it: an import of it fails
    try:
        yield
    finally:
        del sys.modules["torch"]


@contextmanager
def tokenizer_of(name: str, cache: Path) -> Iterator[Model]:
    """A model as `models.get` finds it, its weights left out where they would have to be converted or downloaded. Raises BadConfiguration.

    The embedded one, where it is not prepared, comes from its GGUF file into a folder that is there while this is open.
    """
    folder = Path(name).expanduser()
    if _has(folder, _TOKENIZER) and not _has(folder, ("*.safetensors",)):
        yield Model(str(folder.resolve()), folder, UNKNOWN)
    elif (found := models.find(name, cache)) is not None:
        yield found
    elif name == EMBEDDED:
        with tempfile.TemporaryDirectory(prefix="review-digest-") as scratch:
            _from_gguf(models.embedded_file(), Path(scratch))
            yield Model(EMBEDDED, Path(scratch), models.EMBEDDED_REVISION)
    else:
        yield models.from_hub(name, _FILES)


def _has(folder: Path, patterns: Sequence[str]) -> bool:
    return any(next(folder.glob(pattern), None) for pattern in patterns)


def _from_gguf(source: Path, target: Path) -> None:
    """Writes tokenizer and config. The same tokenizer that the conversion saves, byte for byte; transformers' own way to a GGUF file
    imports torch, although it needs it for weights alone."""
    try:
        from gguf import GGUFReader

        with without_torch():
            from transformers import TokenizersBackend
            from transformers.integrations.gguf.gguf_tokenizer_mapping import convert_gguf_tokenizer
    except ImportError as error:
        raise BadConfiguration(f"the embedded model's tokenizer cannot be read ({error}); run `make setup`") from None
    fields = GGUFReader(source).fields

    def read(key: str) -> Any:
        return fields[key].contents() if key in fields else None

    ours = {"tokenizer_type": "model", "pre_tokenizer_type": "pre", "tokens": "tokens", "token_type": "token_type", "merges": "merges"}
    ids = {"bos": "bos_token_id", "eos": "eos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
    known: dict[str, Any] = {name: read(f"tokenizer.ggml.{key}") for name, key in ours.items()}
    known |= {f"{name}_token_id": read(f"tokenizer.ggml.{key}") for name, key in ids.items()}
    known["add_prefix_space"] = read("tokenizer.ggml.add_space_prefix")
    special = {f"{name}_token": known["tokens"][known[f"{name}_token_id"]] for name in ids}
    architecture = read("general.architecture")
    backend, _ = convert_gguf_tokenizer(architecture, known)
    template = read("tokenizer.chat_template")
    TokenizersBackend(tokenizer_object=backend, chat_template=template, **special).save_pretrained(target)
    figures = {
        "num_hidden_layers": "block_count",
        "hidden_size": "embedding_length",
        "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv",
        "max_position_embeddings": "context_length",
    }
    config = {"model_type": architecture, **{name: read(f"{architecture}.{key}") for name, key in figures.items()}}
    (target / "config.json").write_text(json.dumps(config))
