"""A restaurant's reviews to tokens: their order, a sample of them cut into chunks, what is notable about each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from pipeline.instruction_like import instruction_like
from pipeline.records import Restaurant, Review, TokenIds
from pipeline.sampling import sample
from pipeline.tokens import EncodedText, Tokens

MOST_REVIEWS = 50
"""Reviews in one prompt at most. What stands in the middle of a longer list is overlooked: Liu et al. 2024, "Lost in the Middle: How
Language Models Use Long Contexts", TACL 12."""

MARKS = 6
"""Tokens that number a review in a chunk and end its line, at most."""
_BATCH = 256  # reviews tokenised at once
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min  # noqa: DTZ901 - dumps are read without zones
_UNDATED = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Tokenised:
    """A restaurant ready for its plans: token ids per review, chunks as indices of the reviews in them, flags by review id.

    The chunks of a restaurant with more reviews than `--max-reviews` hold a sample. `budget`: tokens that a task may put into one prompt
    beside its own wording.
    """

    restaurant: Restaurant
    ids: tuple[TokenIds, ...]
    chunks: tuple[Sequence[int], ...]
    flags: Mapping[str, tuple[str, ...]]
    budget: int

    @property
    def sampled(self) -> tuple[Review, ...]:
        """The reviews in its chunks, in order."""
        return tuple(self.restaurant.reviews[i] for chunk in self.chunks for i in chunk)

    @property
    def chunk_of(self) -> dict[int, int]:
        """The chunk of each sampled review, by its place."""
        return {i: number for number, chunk in enumerate(self.chunks) for i in chunk}


def place(review: Review) -> bytes:
    """Where a review stands in its restaurant: bytes that sort as its time, undated last, then its id."""
    since = _UNDATED if review.created_at is None else (review.created_at - _FIRST) // _MICROSECOND
    return since.to_bytes(8) + review.review_id.encode()


def cut(places: Sequence[bytes], sizes: Sequence[int], budget: int, most: int = MOST_REVIEWS) -> list[range]:
    """Cuts sorted items into runs of at most `most` items and `budget` tokens; an item over the budget stands alone.

    What does not fit one run is halved at the middle of the space of places, not of the items, and again until it fits (a binary trie
    with buckets: Fagin et al. 1979, "Extendible Hashing", ACM TODS 4). Where a run ends depends on what is in it alone: a new item changes
    or splits its own run and shifts no other. Boundaries at hashes of items, tried on 100 restaurants, changed another run too in 27 of
    100 additions and up to ten of them; they made a sixth fewer runs, which the budget gives back.

    `places`: different and ascending. Returns index ranges that cover all items in order.
    """
    total = [0, *(used for _, used in zip(places, accumulate(sizes), strict=True))]
    runs: list[range] = []
    waiting = [range(len(places))] if places else []
    while waiting:
        run = waiting.pop()
        if len(run) == 1 or (len(run) <= most and total[run.stop] - total[run.start] <= budget):
            runs.append(run)
            continue
        middle = bisect_left(places, _middle(places[run.start], places[run.stop - 1]), run.start + 1, run.stop)
        waiting += [range(middle, run.stop), range(run.start, middle)]
    return runs


def _middle(first: bytes, last: bytes) -> bytes:
    """Middle of the smallest binary interval that holds both places, as numbers: the higher one up to the first bit that differs."""
    width = max(len(first), len(last))
    low, high = (int.from_bytes(one.ljust(width, b"\0")) for one in (first, last))
    shift = max((low ^ high).bit_length() - 1, 0)
    return (high >> shift << shift).to_bytes(width).rstrip(b"\0")


def tokenise(restaurants: Iterable[Restaurant], tokens: Tokens, budget: int, max_reviews: int | None = None) -> Iterator[Tokenised]:
    """Restaurants with their reviews encoded, in the order given; reviews of several restaurants go through the tokenizer together.

    `budget`: tokens of reviews in one chunk. A single review over it is cut to its end and flagged. `max_reviews`: of a restaurant, in its
    chunks; None for all.
    """
    batch: list[Restaurant] = []
    size = 0
    for restaurant in restaurants:
        batch.append(restaurant)
        size += 1 + len(restaurant.reviews)
        if size >= _BATCH:
            yield from _tokenise(batch, tokens, budget, max_reviews)
            batch, size = [], 0
    yield from _tokenise(batch, tokens, budget, max_reviews)


def _tokenise(batch: Sequence[Restaurant], tokens: Tokens, budget: int, max_reviews: int | None) -> Iterator[Tokenised]:
    encoded = iter(tokens.encode([review.text for one in batch for review in one.reviews], most=budget - MARKS))
    for restaurant in batch:
        mine = [next(encoded) for _ in restaurant.reviews]
        ids = tuple(one.ids for one in mine)
        chosen = sample(restaurant.restaurant_id, restaurant.reviews, max_reviews)
        runs = cut([place(restaurant.reviews[i]) for i in chosen], [len(ids[i]) + MARKS for i in chosen], budget)
        chunks = tuple(chosen[run.start : run.stop] for run in runs)
        yield Tokenised(restaurant, ids, chunks, _flags(restaurant, mine), budget)


def _flags(restaurant: Restaurant, encoded: Sequence[EncodedText]) -> dict[str, tuple[str, ...]]:
    flags: dict[str, tuple[str, ...]] = {}
    seen: set[str] = set()
    for review, one in zip(restaurant.reviews, encoded, strict=True):
        found = one.flags
        if instruction_like(review.text):
            found = (*found, "instruction_like")
        if review.text in seen:
            found = (*found, "duplicate")
        seen.add(review.text)
        if found:
            flags[review.review_id] = found
    return flags
