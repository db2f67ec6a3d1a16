"""Figures of praise, here and at peers, and whether a sentence says nothing but what they say."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pipeline.digest import digest
from pipeline.records import Praise
from pipeline.tasks.aspects import STEMS
from pipeline.tasks.overlap import content_words

STEP = 5
"""Points to which shares are rounded, so that a few reviews elsewhere change nothing here."""
MARGIN = 10
"""Points by which praise here must exceed praise there to be called better."""
LEAST_REVIEWS = 5
"""Labelled reviews below which a restaurant's shares mean nothing."""
TOLD = 0.9
"""Share of a sentence's content words that the model was told. At .6 the embedded model's "Guests praise the restaurant for its exceptional
service, but compare it to comparable restaurants" would be published."""

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
_AWAY = re.compile(
    r"\belsewhere\b|\bthan (?:it is )?(?:here|this|at this)\b|(?<!than )(?<!% )\bthere\b"
    r"|(?<!than )\b(?:at|of) [^.,]*restaurants\b|저기|다른 곳|이곳보다"
)
"""Where a sentence says of the others that they have more or less."""
RULES = f"{TOLD} {_AWAY.pattern} a direction for every aspect"
"""Of what a text may say, for the fingerprint of the wording."""


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
        there = rounded(fmean([peer.share(aspect) for peer in peers])) if peers else None
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
    """Whether every sentence names an aspect that has a figure; has no number but, for each aspect it names, the figure here and then that
    at peers (or how many were `compared`); no direction that the figures do not have; and hardly a word that is not in `known`, which is
    all that the model was told."""
    of = {one.aspect: one for one in figures}
    told = content_words(known)
    return bool(text) and all(_holds(sentence, of, compared, told) for sentence in _SENTENCE.split(text.strip()))


def _holds(sentence: str, of: Mapping[str, Figure], compared: int, told: frozenset[str]) -> bool:
    lower = sentence.casefold()
    named = sorted((match.start(), aspect) for aspect, stem in STEMS.items() if (match := stem.search(lower)))
    if not named or not {aspect for _, aspect in named} <= set(of) or _SPELLED.search(lower):
        return False
    figures = [of[aspect] for _, aspect in named]
    starts = [start for start, _ in named]
    parts = [lower[: starts[0]], *(lower[start:end] for start, end in pairwise([*starts, len(lower)]))]
    if not _follow(parts, figures, compared):
        return False
    if not _directed(lower, parts[1:], figures):
        return False
    words = content_words(sentence)
    return len(words & told) >= TOLD * len(words)


def _directed(sentence: str, parts: Sequence[str], figures: Sequence[Figure]) -> bool:
    """Whether what is more and what is less is so, of this restaurant: all aspects in the one direction that the sentence knows, or, where
    it knows both, each in the one that stands behind its name. `parts`: the sentence from each name to the next."""
    more, less = _MORE.search(sentence) is not None, _LESS.search(sentence) is not None
    if (more or less) and _AWAY.search(sentence):
        return False
    if not (more and less):
        return all((one.lead > 0 or not more) and (one.lead < 0 or not less) for one in figures)
    behind = [(_MORE.search(part) is not None, _LESS.search(part) is not None) for part in parts]
    return all(said == (one.lead > 0, one.lead < 0) and one.lead for said, one in zip(behind, figures, strict=True))


def _follow(parts: Sequence[str], figures: Sequence[Figure], compared: int) -> bool:
    """Each aspect's name is followed by its own figures, or none is by any; once there may also be how many were compared. `parts`: the
    sentence, parted before each name."""
    found = [_NUMBER.findall(part) for part in parts]
    expected = [[], *([str(number) for number in (one.here, one.there) if number is not None] for one in figures)]
    if found in (expected, [[] for _ in parts]):
        return True
    for part in found:
        if str(compared) in part:
            part.remove(str(compared))
            return found in (expected, [[] for _ in parts])
    return False
