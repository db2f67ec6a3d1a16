"""Text to token ids: reviews in batches, exact and safe against control tokens; prompt parts compiled once.

Review text is hostile. `<|im_end|>` in a review would become the real control token, so (1) every string of the tokenizer's added
vocabulary is broken up in review text, and (2) reviews are encoded by a tokenizer that treats special tokens as ordinary text; then it is
made sure that no control id came out. Prompts are concatenations of token ids, so a review cannot reach across its own span.

Line ends are what separates reviews in a prompt, and a review has none: all its white space becomes spaces, no token that reads as a line
end may come out, and a byte in words (`<0x0A>`, which some vocabularies would turn into that byte) is broken up like a control token.
Numbers, quotes and headings inside a review are therefore only ever part of its one line.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from pipeline.errors import BadConfiguration
from pipeline.records import TokenIds

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_WHITE = re.compile(r"\s+")
_LINE_END = re.compile(r"[\n-\r\x1c-\x1e\x85\u2028\u2029]")  # where str.splitlines ends a line
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_BIDI_OVERRIDE = re.compile(r"[\u202a-\u202e\u2066-\u2069]")  # reorder what follows; marks that right-to-left text needs stay
LEAST_BATCH = 4
"""Texts from which on threads pay: a batch costs a quarter of a millisecond beside its texts, a text a tenth."""
_PLACE = "\u2063PLACE\u2063"


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Token ids of one review and what was found in it: `control_tokens`, `control_characters`, `truncated`."""

    ids: TokenIds
    flags: tuple[str, ...] = ()


class Tokens:
    """A model's tokenizer, twice: one that knows control tokens, for our own words; one that does not, for reviews."""

    def __init__(self, folder: Path) -> None:
        """`folder`: a model's files. Raises BadConfiguration where they hold no fast tokenizer."""
        from transformers import AutoTokenizer

        try:
            self._auto: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            serialised = self._auto.backend_tokenizer.to_str()
        except Exception as error:  # tokenizers raises bare Exceptions, transformers whatever a damaged file leads to
            raise BadConfiguration(f"{folder}: no usable tokenizer ({str(error)[:200]}); name another model") from None
        self._ours = Tokenizer.from_str(_plain(serialised))
        self._reviews = Tokenizer.from_str(_plain(serialised))
        self._reviews.encode_special_tokens = True
        added = self._ours.get_added_tokens_decoder()
        self.control_ids = np.array(sorted(added), dtype=np.uint32)
        vocabulary = self._ours.get_vocab()
        read_as = self._ours.decode_batch([[i] for i in vocabulary.values()], skip_special_tokens=False)
        ends = [i for i, text in zip(vocabulary.values(), read_as, strict=True) if _LINE_END.search(text)]
        self.forbidden_ids = np.union1d(self.control_ids, np.array(ends, dtype=np.uint32))
        self._forbidden = np.zeros(max(vocabulary.values()) + 1, dtype=np.bool_)
        self._forbidden[self.forbidden_ids] = True
        written = {token.content for token in added.values() if token.content.strip()} | set(filter(_BYTE.fullmatch, vocabulary))
        contents = sorted(written, key=lambda text: (-len(text), text))
        self._added = re.compile("|".join(map(re.escape, contents))) if contents else None
        self._begins = frozenset(text[0] for text in contents)
        self._parts: dict[str, TokenIds] = {}
        # What the model expects before a text that is no chat: some calibrate badly without their first token, many have none.
        whole, bare = (self._ours.encode("a", add_special_tokens=special).ids for special in (True, False))
        self.begin: TokenIds = np.array(whole[: whole.index(bare[0])], dtype=np.uint32)

    def part(self, text: str) -> TokenIds:
        """Our own words, control tokens meant. Compiled once per text."""
        if text not in self._parts:
            self._parts[text] = np.array(self._ours.encode(text, add_special_tokens=False).ids, dtype=np.uint32)
        return self._parts[text]

    def text(self, ids: TokenIds) -> str:
        """What ids read as, control tokens included."""
        return str(self._ours.decode(ids.tolist(), skip_special_tokens=False))

    def word(self, text: str) -> int | None:
        """The id of a word that is one token, None where this tokenizer splits it."""
        ids = self.part(text)
        return int(ids[0]) if len(ids) == 1 else None

    def chat(self, system: str, answer_start: str = "") -> tuple[str, str]:
        """The model's chat format around one user message, as (before, after); `after` ends where the model's answer goes on.

        A model without a chat format gets plain paragraphs, one without a system role gets the system text before the user's.
        """
        if not self._auto.chat_template:
            return f"{system}\n\n", f"\n\n{answer_start}"
        user = {"role": "user", "content": _PLACE}
        options = {"tokenize": False, "add_generation_prompt": True, "enable_thinking": False}
        try:
            text = self._auto.apply_chat_template([{"role": "system", "content": system}, user], **options)
        except Exception as error:  # templates raise jinja2's own errors, and which of them is the template's choice
            if "system" not in str(error).lower():
                raise BadConfiguration(f"the model's chat template does not work: {error}") from None
            text = self._auto.apply_chat_template([{"role": "user", "content": f"{system}\n\n{_PLACE}"}], **options)
        before, _, after = text.partition(_PLACE)
        return before, after + answer_start

    def encode(self, texts: Sequence[str], most: int | None = None) -> list[EncodedText]:
        """Review texts to ids, one batch. A text of more than `most` tokens keeps its end, where the verdict usually stands."""
        cleaned = [self._clean(text) for text in texts]
        if len(cleaned) < LEAST_BATCH:
            encodings = [self._reviews.encode(text, add_special_tokens=False) for text, _ in cleaned]
        else:
            encodings = self._reviews.encode_batch_fast([text for text, _ in cleaned], add_special_tokens=False)
        results = []
        for (_, flags), encoding in zip(cleaned, encodings, strict=True):
            ids = np.array(encoding.ids, dtype=np.uint32)
            if most is not None and len(ids) > most:
                ids, flags = ids[len(ids) - most :], (*flags, "truncated")
            results.append(EncodedText(ids, flags))
        if self._forbidden[concatenate(*(result.ids for result in results))].any():
            results = [self._without_forbidden(result) for result in results]
        return results

    def _without_forbidden(self, encoded: EncodedText) -> EncodedText:
        """Where added words overlap (`:-)` and `-)`), breaking one up leaves another: it is taken out, and no text can stop a run."""
        forbidden = self._forbidden[encoded.ids]
        flags = dict.fromkeys((*encoded.flags, "control_tokens")) if forbidden.any() else encoded.flags
        return EncodedText(encoded.ids[~forbidden], tuple(flags))

    def _clean(self, text: str) -> tuple[str, tuple[str, ...]]:
        flags = []
        if text.isascii() and text.isprintable():  # most English reviews: there are spaces to look at, and nothing else
            text = " ".join(text.split())
        else:
            # NFC, not NFKC: that one would turn the Korean laughter jamo into other letters.
            text = _BIDI_OVERRIDE.sub("", unicodedata.normalize("NFC", text))
            if _CONTROL.search(_WHITE.sub(" ", text.strip())):
                flags.append("control_characters")
            text = _WHITE.sub(" ", _CONTROL.sub(" ", text)).strip()
        if self._added is not None and any(begin in text for begin in self._begins) and self._added.search(text):
            flags.append("control_tokens")
            text = self._added.sub(lambda match: f"{match[0][0]} {match[0][1:]}" if len(match[0]) > 1 else " ", text)
        return text, tuple(flags)


def _plain(serialised: str) -> str:
    """The tokenizer without truncation and padding, which some models' files switch on: counts here are exact."""
    settings = json.loads(serialised)
    settings["truncation"] = settings["padding"] = None
    return json.dumps(settings)


def concatenate(*parts: TokenIds) -> TokenIds:
    """One prompt out of parts, shape (sum of their lengths,)."""
    return np.concatenate(parts) if parts else np.array([], dtype=np.uint32)
