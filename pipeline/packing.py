"""Answers to rows of a store's parts, and back, every field to the last bit."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any

import numpy as np
import polars as pl

from pipeline.parts import SCHEMA
from pipeline.records import Answer, Request

# In the order of Answer's fields, which go by place: names would take a third of a lookup's time.
PLAIN = ("text", "prompt_tokens", "cached_tokens", "output_tokens", "queue_s", "prefill_s", "decode_s", "finish_reason")
WANTED = ("high", "low", "choices", "logprobs", *PLAIN)
"""Columns that an answer is made of."""


def pack(buffer: Mapping[bytes, tuple[Request, Answer]]) -> pl.DataFrame:
    """Requests and their answers, by stored key, as rows of SCHEMA, added now."""
    halves = np.frombuffer(b"".join(buffer), dtype="<u8").reshape(-1, 2)
    requests = [request for request, _ in buffer.values()]
    answers = [answer for _, answer in buffer.values()]
    columns: dict[str, Any] = {
        "high": halves[:, 0],
        "low": halves[:, 1],
        **{name: list(map(attrgetter(name), requests)) for name in ("task", "stage", "restaurant_id")},
        "choices": [struct.pack(f"<{len(answer.logprobs)}I", *answer.logprobs) for answer in answers],
        "logprobs": [struct.pack(f"<{len(answer.logprobs)}d", *answer.logprobs.values()) for answer in answers],
        **{name: list(map(attrgetter(name), answers)) for name in PLAIN},
        "added_at": [datetime.now(UTC)] * len(answers),
    }
    return pl.DataFrame({name: pl.Series(name, columns[name], dtype=dtype) for name, dtype in SCHEMA.items()})


def unpack(names: Sequence[str], matching: pl.DataFrame) -> list[Answer]:
    """Rows of `place` and the columns of WANTED after the key, as answers under the name at their place."""
    return [
        Answer(names[place], text, dict(zip(_ids(choices), struct.unpack(f"<{len(values) // 8}d", values), strict=True)), *rest)
        for place, choices, values, text, *rest in matching.iter_rows()
    ]


@lru_cache(maxsize=64)
def _ids(choices: bytes) -> tuple[int, ...]:
    """A question's token ids; all answers to it have the same."""
    return struct.unpack(f"<{len(choices) // 4}I", choices)
