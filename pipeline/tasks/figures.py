"""Figures of praise, here and at peers, and whether a sentence says nothing but what they say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from pipeline.manifest import digest
from pipeline.records import Praise
from pipeline.tasks.aspects import STEMS
from pipeline.tasks.overlap import SUPPORTED, content_words

STEP = 5
"""Points to which shares are rounded, so that a few reviews elsewhere change nothing here."""
MARGIN = 10
"""Points by which praise here must exceed praise there to be called better."""
LEAST_REVIEWS = 3
"""Labelled reviews below which a restaurant's shares mean nothing."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
_SENTENCE = re.compile(r"(?<=[.!?。])\s+")
_SPELLED = re.compile(
    r"\b(two|three|four|five|six|seven|eight|nine|ten|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|half|third|quarter|twice"
    r"|double|triple|most|majority|all|every)\b|절반|두 배|대부분|모든"
)
_MORE, _LESS = (
    re.compile(r"\b(more|higher|better|above|exceeds?|ahead)\b|더 |높|나은"),
    re.compile(r"\b(less|lower|fewer|below|behind|worse)\b|덜 |낮|못"),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """Percent of reviews that praise an aspect, rounded: `here`, and on average at peers (`there`, None without any)."""

    aspect: str
    here: int
    there: int | None

    @property
    def lead(self) -> int:
        return self.here - (self.there or 0)


def rounded(share: float) -> int:
    """A share between 0 and 1 in percent, to the nearest multiple of STEP, halves up."""
    return STEP * int(share * 100 / STEP + 0.5)


def comparable(table: Praise, peers: Iterable[Praise | None]) -> list[Praise]:
    """The peers' tables that have enough reviews behind them; none where the restaurant's own has not."""
    known = [one for one in (table, *peers) if one is not None and one.reviews >= LEAST_REVIEWS]
    return known[1:] if known and known[0] is table else []


def figures_of(table: Praise, peers: Collection[Praise]) -> list[Figure]:
    """One per aspect that is praised here or there, the largest lead first. Every peer counts alike, however many reviews it has."""
    found = []
    for aspect in STEMS:
        there = rounded(fmean(peer.share(aspect) for peer in peers)) if peers else None
        found.append(Figure(aspect, rounded(table.share(aspect)), there))
    return sorted((one for one in found if one.here or one.there), key=lambda one: (-one.lead, one.aspect))


def mark_of(figures: Sequence[Figure], compared: int, peers: Sequence[str]) -> str:
    """Digest of all that a comparison is made from beside the restaurant's own claims: equal marks, equal texts."""
    return digest([[(one.aspect, one.here, one.there) for one in figures], compared, list(peers)])[:16]


def better(figures: Sequence[Figure]) -> list[Figure]:
    """Aspects with a clear lead; without peers the two praised most."""
    if any(one.there is not None for one in figures):
        return [one for one in figures if one.lead >= MARGIN]
    return [one for one in figures if one.here][:2]


def says_only(text: str, figures: Sequence[Figure], compared: int, known: str) -> bool:
    """Whether every sentence names an aspect that has a figure, no number but the figures of the aspects it names (or how many were
    `compared`), no direction that the figures do not have, and few words that are not in `known`, which is all that the model was told."""
    of = {one.aspect: one for one in figures}
    told = content_words(known)
    return bool(text) and all(_holds(sentence, of, compared, told) for sentence in _SENTENCE.split(text.strip()))


def _holds(sentence: str, of: Mapping[str, Figure], compared: int, told: frozenset[str]) -> bool:
    lower = sentence.casefold()
    named = [aspect for aspect, stem in STEMS.items() if stem.search(lower)]
    if not named or not set(named) <= set(of) or _SPELLED.search(lower):
        return False
    figures = [of[aspect] for aspect in named]
    allowed = {str(number) for one in figures for number in (one.here, one.there)} | {str(compared)}
    if not set(_NUMBER.findall(sentence)) <= allowed:
        return False
    more, less = _MORE.search(lower) is not None, _LESS.search(lower) is not None
    if more and not less and any(one.lead <= 0 for one in figures):
        return False
    if less and not more and any(one.lead >= 0 for one in figures):
        return False
    words = content_words(sentence)
    return len(words & told) >= SUPPORTED * len(words)
