"""Group reviews by restaurant, order inside a group, estimate its cost, cut a sample of it into chunks, hand restaurants out one by one."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any

import polars as pl

from pipeline.instruction_like import instruction_like
from pipeline.order import Standing
from pipeline.records import Restaurant, Review, TokenIds
from pipeline.reviews import Dump
from pipeline.sampling import sample
from pipeline.tokens import EncodedText, Tokens

MOST_REVIEWS = 50
"""Reviews in one prompt at most. What stands in the middle of a longer list is overlooked: Liu et al. 2024, "Lost in the Middle: How
Language Models Use Long Contexts", TACL 12."""

_MARKS = 6  # tokens that number a review and end its line, at most
_OF_A_REVIEW = ("review_id", "text", "language", "rating", "created_at")  # in the order of Review's fields
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


@dataclass(frozen=True, slots=True)
class Groups:
    """The restaurants of a dump.

    `table`: one row per restaurant with restaurant_id, restaurant_name, review_count, new_count (of reviews not asked about before),
    rejected_count, arrival (rank of its first row), estimate (prefill tokens), prompt_tokens (those from the prefix cache too, about),
    offset (of its first review in `reviews`). `reviews`: sorted by restaurant, date, id.
    """

    table: pl.DataFrame
    reviews: pl.DataFrame

    def hand_out(self, by: Sequence[str]) -> Iterator[Restaurant]:
        """Restaurants in the order of these columns of `table`, made when asked for."""
        return map(self._restaurant, self.table.sort(*by).iter_rows(named=True))

    def standings(self, seconds: Callable[[int, int], float]) -> Iterator[Standing]:
        """What an order knows of each before it is opened; `seconds`: predicted from its estimate and its number of new reviews."""
        for name, arrival, estimate, reviews in self.table.select("restaurant_id", "arrival", "estimate", "new_count").iter_rows():
            yield Standing(name, arrival, estimate, seconds(estimate, reviews))

    def open(self, standings: Iterable[Standing]) -> Iterator[Restaurant]:
        """Restaurants in the order of these, one each, made when asked for."""
        rows = self.table["arrival"].arg_sort().to_list()
        for one in standings:
            row = self.table.row(rows[one.arrival], named=True)
            yield replace(self._restaurant(row), urgent=one.urgent, turn=one.turn)

    def _restaurant(self, row: Mapping[str, Any]) -> Restaurant:
        rows = self.reviews.slice(row["offset"], row["review_count"])
        columns = (rows.get_column(name).to_list() for name in _OF_A_REVIEW)  # a hundredth of what a select takes on so few rows
        return Restaurant(
            restaurant_id=row["restaurant_id"],
            reviews=tuple(map(Review, *columns)),
            restaurant_name=row["restaurant_name"],
            rejected_count=row["rejected_count"],
            arrival=row["arrival"],
            estimate=row["estimate"],
            prompt_tokens=row["prompt_tokens"],
        )


def group(
    dump: Dump,
    tokens_per_byte: Mapping[str, float] | None = None,
    reads: Mapping[str, Reads] | None = None,
    max_reviews: int | None = None,
    block_size: int | None = 1,
) -> Groups:
    """One group per restaurant that has any selected row, those with nothing but rejects included.

    Tokens of a review are its bytes times the tokens per byte of its language (`tokens_per_byte`, sampled from the dump). The estimate
    counts them once where it is asked about alone and once for its chunk, however many prompts go over that (of a restaurant with more
    than `max_reviews` the chunks hold a share), and the fixed tokens beside them: `reads` by language, of a chunk that of most of its
    restaurant's reviews; a language that is not in it is not asked about. None: ONCE_EACH. What all prompts about one review begin with
    comes from the prefix cache, in whole blocks of `block_size` tokens (None: there is no cache). Reviews that were asked about before cost
    nothing, though the chunk of a new one is read again.
    """
    reviews = dump.reviews.sort("restaurant_id", "created_at", "review_id", nulls_last=True)
    new = pl.lit(True)
    if dump.answered is not None:
        reviews = reviews.join(
            dump.answered.with_columns(answered=True), on=["restaurant_id", "review_id"], how="left", maintain_order="left"
        )
        new = pl.col("answered").is_null()
    read = dict.fromkeys(reviews["language"].unique().to_list(), ONCE_EACH) if reads is None else reads
    rate = pl.col("language").replace_strict(tokens_per_byte or {}, default=1.0, return_dtype=pl.Float64)
    size, share = pl.col("text").str.len_bytes() * rate, _sampled_share(max_reviews)
    alone = {name: one for name, one in read.items() if one.alone is not None}
    cached = {name: one.common // block_size * block_size if block_size else 0 for name, one in alone.items()}
    asked = _of(alone, lambda one: 1) * pl.when(_of(alone, lambda one: int(one.sampled)) > 0).then(share).otherwise(1.0)
    beside = pl.col("language").replace_strict({name: one.alone for name, one in alone.items()}, default=0, return_dtype=pl.Float64)
    served = pl.col("language").replace_strict(cached, default=0, return_dtype=pl.Float64)
    usable = (
        reviews.group_by("restaurant_id")
        .agg(
            restaurant_name=pl.col("restaurant_name").drop_nulls().mode().min(),
            language=pl.col("language").mode().min(),
            review_count=pl.len(),
            new_count=new.cast(pl.Int64).sum() if dump.answered is not None else pl.len(),
            arrival=pl.col("arrival").min(),
            alone=(asked * (size + beside) * new).sum(),
            served=(asked * served * new).sum(),
            chunked=((size + _MARKS) * share * new).sum(),
            again=((size + beside) * share * _of(read, lambda one: one.again) * new).sum(),
        )
        .with_columns(
            tokens=pl.col("alone") - pl.col("served") + pl.col("chunked") * _of(read, lambda one: min(one.chunks, 1)) + _of(read, _tails),
            prompts=pl.col("alone") + pl.col("chunked") * _of(read, lambda one: one.chunks) + _of(read, _around) + pl.col("again"),
        )
        .drop("language", "alone", "served", "chunked", "again")
    )
    rejected = dump.named_rejects.group_by("restaurant_id").agg(
        rejected_count=pl.len(), rejected_name=pl.col("restaurant_name").drop_nulls().mode().min()
    )
    table = (
        usable.join(rejected, on="restaurant_id", how="full", coalesce=True)
        .with_columns(
            pl.coalesce("restaurant_name", "rejected_name").alias("restaurant_name"),
            pl.col("review_count", "new_count", "rejected_count").fill_null(0).cast(pl.Int64),
            estimate=pl.col("tokens").fill_null(0).round().cast(pl.Int64),
            prompt_tokens=pl.col("prompts").fill_null(0).round().cast(pl.Int64),
        )
        .sort("arrival", "restaurant_id", nulls_last=True)
        .with_columns(arrival=pl.int_range(pl.len()))
        .sort("restaurant_id")
        .with_columns(offset=pl.col("review_count").cum_sum() - pl.col("review_count"))
    )
    return Groups(table.drop("rejected_name", "tokens", "prompts"), reviews.drop("answered", strict=False))


def _of(read: Mapping[str, Reads], value: Callable[[Reads], float]) -> pl.Expr:
    """By `language`, 0 where it is not read."""
    return pl.col("language").replace_strict({name: value(one) for name, one in read.items()}, default=0, return_dtype=pl.Float64)


def _tails(one: Reads) -> int:
    return one.tails


def _around(one: Reads) -> int:
    return one.around


def _sampled_share(max_reviews: int | None) -> pl.Expr:
    return pl.lit(1.0) if max_reviews is None else (max_reviews / pl.len()).clip(upper_bound=1.0)


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
    encoded = iter(tokens.encode([review.text for one in batch for review in one.reviews], most=budget - _MARKS))
    for restaurant in batch:
        mine = [next(encoded) for _ in restaurant.reviews]
        ids = tuple(one.ids for one in mine)
        chosen = sample(restaurant.restaurant_id, restaurant.reviews, max_reviews)
        runs = cut([place(restaurant.reviews[i]) for i in chosen], [len(ids[i]) + _MARKS for i in chosen], budget)
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


def sample_rates(reviews: pl.DataFrame, tokens: Tokens, most: int = 256) -> dict[str, float]:
    """Tokens per byte of review text, by language, from the first reviews by id: the same sample whatever the order of rows."""
    rates = {}
    for (language,), some in reviews.group_by("language"):
        texts = some.sort("review_id", "restaurant_id", "text").head(most)["text"].to_list()
        size = sum(len(text.encode()) for text in texts)
        rates[str(language)] = sum(len(one.ids) for one in tokens.encode(texts)) / max(size, 1)
    return rates
