"""What prompts hold of reviews beside their text: what a task says of its prompts before any is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reads:
    """What prompts hold of reviews in one language, in tokens. `alone`: beside a review that is asked about by itself, None where none is;
    `common`: the first of those, alike in all such prompts; `sampled`: only reviews in chunks are asked about so. `chunks`: prompts over
    each chunk; `around`: of those prompts together, beside the reviews; `tails`: of that, behind the reviews. `again`: share of the reviews
    in chunks that are asked about alone once more, which is no part of the estimate."""

    alone: int | None = None
    common: int = 0
    sampled: bool = False
    chunks: int = 0
    around: int = 0
    tails: int = 0
    again: float = 0.0

    def __or__(self, other: Reads) -> Reads:
        """Of two tasks; what both ask about single reviews is the same question, and asked once."""
        asks = other if self.alone is None else self
        return Reads(
            asks.alone,
            asks.common,
            self.sampled and other.sampled if None not in (self.alone, other.alone) else asks.sampled,
            self.chunks + other.chunks,
            self.around + other.around,
            self.tails + other.tails,
            max(self.again, other.again),
        )


ONCE_EACH = Reads(alone=0, chunks=1)
"""A review alone and in its chunk, nothing beside it."""


def together(reads: Iterable[Mapping[str, Reads]]) -> dict[str, Reads]:
    """Of several tasks, by language."""
    found: dict[str, Reads] = {}
    for some in reads:
        for language, one in some.items():
            found[language] = found[language] | one if language in found else one
    return found
