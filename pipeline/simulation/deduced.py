"""What the prompts of a past run had in common, deduced from their lengths and from what came from the cache.

A run's table of requests holds no texts. But a question about the aspects that a review praises is the question about its sentiment and
some tokens more, the same number in the whole run; and the two requests over a chunk differ by their instructions alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pipeline.simulation.workload import Shared

QUESTIONS = ("label", "praise", "tone", "aspect", "prior", "calibrate")
"""Stages that begin with the same examples."""
OVER_CHUNKS = ("part", "find")
MOST_FURTHER = 64
"""Tokens that the question about aspects may have beyond that about sentiment."""


@dataclass(frozen=True, slots=True)
class Row:
    """Of `requests.parquet`: one that an engine was asked."""

    restaurant_id: str
    task: str
    stage: str
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Part:
    """Of a prompt: what it shares, its chunk, and leading tokens that the requests over that chunk have in common."""

    shared: Shared
    chunk: int = 0
    common: int = 0


def deduced(rows: Sequence[Row]) -> list[Part]:
    """One per row."""
    parts = [Part(())] * len(rows)
    beginnings = _beginnings(rows)
    further = _further(rows)
    for places in _by_restaurant(rows).values():
        for place in places:
            parts[place] = Part(beginnings.get(rows[place].stage, ()))
        _reviews(places, rows, parts, further)
    _chunks(rows, parts)
    return parts


def _beginnings(rows: Sequence[Row]) -> dict[str, Shared]:
    """Of each stage: what its prompts have most often from the cache, the least of it for those over a chunk."""
    hits: dict[str, Counter[int]] = defaultdict(Counter)
    for row in rows:
        if row.cached_tokens:
            hits[row.stage][row.cached_tokens] += 1
    found: dict[str, Shared] = {}
    for number, stage in enumerate(sorted(hits)):
        found[stage] = ((number, min(hits[stage], key=lambda tokens: (-hits[stage][tokens], tokens))),)
    questions = next((found[stage] for stage in QUESTIONS if stage in found), ())
    found |= dict.fromkeys(QUESTIONS, questions)
    least = min((tokens for stage in OVER_CHUNKS for tokens in hits[stage]), default=0)
    found |= dict.fromkeys(OVER_CHUNKS, ((len(hits), least),) if least else ())
    return found


def _by_restaurant(rows: Sequence[Row]) -> Mapping[str, list[int]]:
    places: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        places[row.restaurant_id].append(place)
    return places


def _further(rows: Sequence[Row]) -> int:
    """The number of tokens by which most questions about aspects are longer than one about sentiment of the same restaurant."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for row in rows:
        if row.stage == "label":
            lengths[row.restaurant_id].add(row.prompt_tokens)
    longer: Counter[int] = Counter()
    for row in rows:
        if row.stage == "praise":
            known = lengths[row.restaurant_id]
            longer.update(more for more in range(1, MOST_FURTHER) if row.prompt_tokens - more in known)
    return max(longer, key=lambda more: (longer[more], -more), default=0)


def _reviews(places: Iterable[int], rows: Sequence[Row], parts: list[Part], further: int) -> None:
    """A question about aspects shares all of a question about sentiment that is shorter by `further`."""
    labels: dict[int, list[int]] = defaultdict(list)
    for place in places:
        if rows[place].stage == "label":
            labels[rows[place].prompt_tokens].append(place)
    for place in places:
        row = rows[place]
        if row.stage == "praise" and (alike := labels.get(row.prompt_tokens - further)):
            label = alike.pop(0)
            begin = parts[label].shared
            rest = rows[label].prompt_tokens - sum(tokens for _, tokens in begin)
            if rest > 0:
                parts[label] = parts[place] = Part((*begin, (-1 - label, rest)))


def _chunks(rows: Sequence[Row], parts: list[Part]) -> None:
    """The requests over one chunk, paired by their lengths; what follows the chunk is at most what was never cached of any of them."""
    pairs: list[list[int]] = []
    for places in _by_restaurant(rows).values():
        sides = [
            sorted((one for one in places if rows[one].stage == stage), key=lambda one: (rows[one].prompt_tokens, one))
            for stage in OVER_CHUNKS
        ]
        for chunk in range(max(map(len, sides))):
            pair = [side[chunk] for side in sides if chunk < len(side)]
            pairs.append(pair)
            for place in pair:
                parts[place] = Part(parts[place].shared, chunk)
    over = [row for row in rows if row.stage in OVER_CHUNKS]
    tail = min((row.prompt_tokens - row.cached_tokens for row in over), default=0)
    for pair in pairs:
        hit = max(rows[place].cached_tokens for place in pair)
        common = max(hit, min(rows[place].prompt_tokens for place in pair) - tail)
        for place in pair:
            begin = parts[place].shared
            rest = common - sum(tokens for _, tokens in begin)
            shared = (*begin, (-1 - pair[0], rest)) if len(pair) > 1 and rest > 0 else begin
            parts[place] = Part(shared, parts[place].chunk, common)
