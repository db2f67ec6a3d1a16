"""Group reviews by restaurant, estimate what each will compute, hand restaurants out one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import polars as pl

from pipeline.dump import Dump
from pipeline.order import Standing
from pipeline.reads import ONCE_EACH, Reads
from pipeline.records import Restaurant
from pipeline.restaurants import MARKS
from pipeline.shelf import Shelf
from pipeline.tokens import Tokens


@dataclass(frozen=True)
class Groups:
    """The restaurants of a dump.

    `table`: one row per restaurant with restaurant_id, restaurant_name, review_count, new_count (of reviews not asked about before),
    rejected_count, arrival (rank of its first row), estimate (prefill tokens), prompt_tokens (those from the prefix cache too, about),
    number (its place by name among those with reviews).
    """

    table: pl.DataFrame
    dump: Dump

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
        return Restaurant(
            restaurant_id=row["restaurant_id"],
            reviews=self._shelf[row["number"]] if row["review_count"] else (),
            restaurant_name=row["restaurant_name"],
            rejected_count=row["rejected_count"],
            arrival=row["arrival"],
            estimate=row["estimate"],
            prompt_tokens=row["prompt_tokens"],
        )

    @cached_property
    def _shelf(self) -> Shelf:
        return Shelf(self.dump)


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
    languages = sorted(dump.languages)
    read = dict.fromkeys(languages, ONCE_EACH) if reads is None else reads
    rate = pl.col("language").replace_strict(tokens_per_byte or {}, default=1.0, return_dtype=pl.Float64)
    size, share, new = pl.col("text").str.len_bytes() * rate, _sampled_share(max_reviews), pl.col("new")
    alone = {name: one for name, one in read.items() if one.alone is not None}
    cached = {name: one.common // block_size * block_size if block_size else 0 for name, one in alone.items()}
    asked = _of(alone, lambda one: 1) * pl.when(_of(alone, lambda one: int(one.sampled)) > 0).then(share).otherwise(1.0)
    beside = pl.col("language").replace_strict({name: one.alone for name, one in alone.items()}, default=0, return_dtype=pl.Float64)
    served = pl.col("language").replace_strict(cached, default=0, return_dtype=pl.Float64)

    def sums(number: int, part: pl.DataFrame) -> pl.DataFrame:
        answered = None if dump.answered is None else dump.answered(dump.ranges.of(number))
        of_one = with_new(part, answered).group_by("restaurant_id", maintain_order=True)
        return of_one.agg(
            restaurant_name=pl.col("restaurant_name").drop_nulls().mode().min(),
            language=pl.col("language").mode().min(),
            review_count=pl.len(),
            new_count=new.cast(pl.Int64).sum(),
            arrival=pl.col("arrival").min(),
            alone=(asked * (size + beside) * new).sum(),
            served=(asked * served * new).sum(),
            chunked=((size + MARKS) * share * new).sum(),
            again=((size + beside) * share * _of(read, lambda one: one.again) * new).sum(),
        )

    usable = (
        pl.concat(sums(number, part) for number, part in enumerate(dump))
        .with_columns(
            tokens=pl.col("alone") - pl.col("served") + pl.col("chunked") * _of(read, lambda one: min(one.chunks, 1)) + _of(read, _tails),
            prompts=pl.col("alone") + pl.col("chunked") * _of(read, lambda one: one.chunks) + _of(read, _around) + pl.col("again"),
        )
        .drop("language", "alone", "served", "chunked", "again")
        .with_row_index("number")
    )
    counted = {"rejected_count": pl.len(), "rejected_name": pl.col("restaurant_name").drop_nulls().mode().min()}
    rejected = pl.concat(dump.named_rejects_of(number).group_by("restaurant_id").agg(**counted) for number in range(len(dump.ranges)))
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
    )
    return Groups(table.drop("rejected_name", "tokens", "prompts"), dump)


def with_new(part: pl.DataFrame, answered: pl.DataFrame | None) -> pl.DataFrame:
    """With the column `new`: whether nobody has asked about a review before."""
    if answered is None:
        return part.with_columns(new=pl.lit(True))
    known = answered.with_columns(answered=True)
    both = part.join(known, on=["restaurant_id", "review_id"], how="left", maintain_order="left")
    return both.with_columns(new=pl.col("answered").is_null())


def _of(read: Mapping[str, Reads], value: Callable[[Reads], float]) -> pl.Expr:
    """By `language`, 0 where it is not read."""
    return pl.col("language").replace_strict({name: value(one) for name, one in read.items()}, default=0, return_dtype=pl.Float64)


def _tails(one: Reads) -> int:
    return one.tails


def _around(one: Reads) -> int:
    return one.around


def _sampled_share(max_reviews: int | None) -> pl.Expr:
    return pl.lit(1.0) if max_reviews is None else (max_reviews / pl.len()).clip(upper_bound=1.0)


def sample_rates(parts: Iterable[pl.DataFrame], tokens: Tokens, most: int = 256) -> dict[str, float]:
    """Tokens per byte of review text, by language, from the first reviews by id: the same sample whatever the order of rows, and whatever
    the parts they are in. `parts`: columns restaurant_id, review_id, text, language."""
    place = ["review_id", "restaurant_id", "text"]
    first: dict[str, pl.DataFrame] = {}
    for part in parts:
        for (language,), some in part.select(*place, "language").group_by("language"):
            both = [first[str(language)], some] if str(language) in first else [some]
            first[str(language)] = pl.concat(one.sort(place).head(most) for one in both)
    rates = {}
    for language, some in first.items():
        texts = some.sort(place).head(most)["text"].to_list()
        size = sum(len(text.encode()) for text in texts)
        rates[language] = sum(len(one.ids) for one in tokens.encode(texts)) / max(size, 1)
    return rates
