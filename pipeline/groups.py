"""Group reviews by restaurant, estimate what each will compute, hand restaurants out one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from pipeline.order import Standing
from pipeline.reads import ONCE_EACH, Reads
from pipeline.records import Restaurant, Review
from pipeline.restaurants import MARKS
from pipeline.reviews import Dump
from pipeline.tokens import Tokens

_OF_A_REVIEW = ("review_id", "text", "language", "rating", "created_at")  # in the order of Review's fields


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
            chunked=((size + MARKS) * share * new).sum(),
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


def sample_rates(reviews: pl.DataFrame, tokens: Tokens, most: int = 256) -> dict[str, float]:
    """Tokens per byte of review text, by language, from the first reviews by id: the same sample whatever the order of rows."""
    rates = {}
    for (language,), some in reviews.group_by("language"):
        texts = some.sort("review_id", "restaurant_id", "text").head(most)["text"].to_list()
        size = sum(len(text.encode()) for text in texts)
        rates[str(language)] = sum(len(one.ids) for one in tokens.encode(texts)) / max(size, 1)
    return rates
