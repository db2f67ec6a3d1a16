"""The tables of a run: explicit schemas, and rows taken over from a run before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import polars as pl
import pyarrow as pa

from pipeline.records import Praise

_IDS = pl.List(pl.String())
RESTAURANTS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "restaurant_name": pl.String(),
    "status": pl.String(),
    "error": pl.String(),
    "review_count": pl.Int64(),
    "sampled_count": pl.Int64(),
    "rejected_count": pl.Int64(),
    "truncated_count": pl.Int64(),
    "positive_count": pl.Int64(),
    "neutral_count": pl.Int64(),
    "negative_count": pl.Int64(),
    "unlabelled_count": pl.Int64(),
    "positive_ratio": pl.Float64(),
    "mean_rating": pl.Float64(),
    "rating_agreement": pl.Float64(),
    "summary": pl.String(),
    "summary_kind": pl.String(),
    "summary_support": pl.Float64(),
    "summary_sentences": pl.List(pl.Struct({"text": pl.String(), "review_ids": _IDS})),
    "comparison_summary": pl.String(),
    "target_restaurant_strength": pl.String(),
    "strengths": pl.List(
        pl.Struct({"aspect": pl.String(), "claim": pl.String(), "quote": pl.String(), "review_ids": _IDS, "support": pl.Int64()})
    ),
    "strengths_kind": pl.String(),
    "dropped_claims": pl.Int64(),
    "peers": _IDS,
    "deadline": pl.Datetime("us", "UTC"),
    "deadline_met": pl.Boolean(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "finished_s": pl.Float64(),
    "compared_s": pl.Float64(),
    "fingerprint": pl.String(),
    "reused": pl.Boolean(),
}
REVIEWS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "review_id": pl.String(),
    "sentiment": pl.String(),
    "score": pl.Float64(),
    "praises": pl.List(pl.String()),
    "flags": pl.List(pl.String()),
}
REQUESTS: dict[str, pl.DataType] = {
    "key": pl.String(),
    "task": pl.String(),
    "stage": pl.String(),
    "restaurant_id": pl.String(),
    "status": pl.String(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "queue_s": pl.Float64(),
    "prefill_s": pl.Float64(),
    "decode_s": pl.Float64(),
    "first_token_s": pl.Float64(),
    "finished_s": pl.Float64(),
    "position": pl.Int64(),
    "finish_reason": pl.String(),
    "reused": pl.Boolean(),
}
"""One request as it was run. All seconds are wall time.

`queue_s`: from the engine's taking it in to the step that computes its first prompt token. `prefill_s`: from there to its first output
token. `decode_s`: from there to its last. Those of its neighbours in the batch are the same seconds, so sums over requests exceed the time
of the run; what a task took of that is in the manifest (`costs`). `first_token_s`: from submission to the first output token, queue and
prefill and the way between processes together. `finished_s`: from the run's first submission to the answer. `cached_tokens`: of
`prompt_tokens`, those that the engine had computed for another request. `position` counts submissions from 0. An answer that was not asked
of the engine (`reused`) has no tokens and no seconds but `finished_s`."""
SECOND: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "comparison_summary": pl.String(),
    "target_restaurant_strength": pl.String(),
    "strengths_kind": pl.String(),
    "peers": _IDS,
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "compared_s": pl.Float64(),
    "figures": pl.String(),
    "reasons": pl.String(),
    "pending": pl.Boolean(),
}
"""What a second stage of strengths has found out of a restaurant. `figures`: the second part of its fingerprint, null where its row is to
be looked at again. `reasons`: why there is no comparison, null where there is one; `pending`: because the run ended."""
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
RUN_COLUMNS = ("deadline", "deadline_met", "prompt_tokens", "cached_tokens", "output_tokens", "finished_s", "compared_s", "reused")
"""Columns of `restaurants.parquet` that tell about the run; the others are the result, equal whenever the same dump is analysed."""


def own_status() -> pl.Expr:
    """The `status` of a row, its comparison left aside: one of which nothing else was not reached has all answers of its own."""
    reason = pl.element()
    own = (
        pl.col("error")
        .str.split("; ")
        .list.eval(~reason.str.starts_with("comparison: ") & reason.str.contains(": not reached, ", literal=True))
    )
    pending = pl.col("status") == "pending"
    return pl.when(pending & ~own.list.any().fill_null(False)).then(pl.lit("partial")).otherwise("status").alias("status")


class Published(Protocol):
    """What one kind of job publishes, a file per field. `job`: the command; `plural`: what a row of `rows`, the table that is the result,
    stands for; `id`: names it. It has columns `fingerprint` and `reused`. `schemas`: of the tables that every version may change. `counts`:
    for the manifest, beside those that all jobs have."""

    job: ClassVar[str]
    plural: ClassVar[str]
    id: ClassVar[str]
    schemas: ClassVar[Mapping[str, Mapping[str, pl.DataType]]]

    @property
    def rows(self) -> pl.DataFrame: ...
    @property
    def rejects(self) -> pl.DataFrame: ...
    @property
    def counts(self) -> Mapping[str, Any]: ...
    @classmethod
    def read(cls, folder: Path) -> Self: ...


@dataclass(frozen=True, slots=True)
class Results:
    """The four tables of `analyze`."""

    job: ClassVar[str] = "analyze"
    plural: ClassVar[str] = "restaurants"
    id: ClassVar[str] = "restaurant_id"
    schemas: ClassVar[Mapping[str, Mapping[str, pl.DataType]]] = {"restaurants": RESTAURANTS, "reviews": REVIEWS, "requests": REQUESTS}
    restaurants: pl.DataFrame
    reviews: pl.DataFrame
    rejects: pl.DataFrame
    requests: pl.DataFrame

    @property
    def rows(self) -> pl.DataFrame:
        """One row per restaurant."""
        return self.restaurants

    @property
    def counts(self) -> Mapping[str, Any]:
        """Reviews, and how many of each sentiment."""
        sentiments = {name: int(self.restaurants[f"{name}_count"].sum()) for name in ("positive", "neutral", "negative", "unlabelled")}
        return {"reviews": self.reviews.height, "sentiments": sentiments}

    @classmethod
    def read(cls, folder: Path) -> Self:
        """A run's tables. Raises OSError, PolarsError."""
        return cls(*(pl.read_parquet(folder / f"{one.name}.parquet") for one in fields(cls)))

    @property
    def praise(self) -> dict[str, Praise | None]:
        """Tables of praise by restaurant, None where no review was asked about."""
        asked = self.reviews.filter(pl.col("praises").is_not_null())
        counts = dict(asked.group_by("restaurant_id").len().iter_rows())
        praising: dict[str, dict[str, int]] = {}
        for name, aspect, number in asked.explode("praises").drop_nulls("praises").group_by("restaurant_id", "praises").len().iter_rows():
            praising.setdefault(name, {})[aspect] = number
        return {
            name: Praise(counts[name], praising.get(name, {})) if name in counts else None for name in self.restaurants["restaurant_id"]
        }

    def within(self, rows: pl.Expr) -> Results:
        """Those of the rows that these restaurants have, requests aside: they are their own run's story."""
        return Results(self.restaurants.filter(rows), self.reviews.filter(rows), self.rejects.filter(rows), self.requests.clear())

    def compared(self, second: pl.DataFrame) -> Results:
        """These results with what second stages have found out of some restaurants: rows of SECOND, one a restaurant."""
        if second.is_empty():
            return self
        renamed = second.rename({name: f"new_{name}" for name in SECOND if name != "restaurant_id"}).with_columns(done=True)
        both = self.restaurants.join(renamed, on="restaurant_id", how="left", maintain_order="left", validate="m:1")
        done, failed = pl.col("done").is_not_null(), pl.col("new_reasons").is_not_null()
        own = pl.col("fingerprint").str.split("-").list.first()
        texts = ("comparison_summary", "target_restaurant_strength", "strengths_kind", "peers", "compared_s")
        changed = {
            **{name: pl.col(f"new_{name}") for name in texts},
            **{name: pl.col(name) + pl.col(f"new_{name}") for name in TOKENS},
            "status": pl.when(~failed)
            .then("status")
            .when("new_pending")
            .then(pl.lit("pending"))
            .otherwise(pl.when(pl.col("status") == "ok").then(pl.lit("partial")).otherwise("status")),
            "error": pl.concat_str(pl.when(pl.col("error") != "").then("error"), "new_reasons", separator="; ", ignore_nulls=True),
            "fingerprint": pl.when(~failed).then(pl.concat_str(own, "new_figures", separator="-")),
            "reused": pl.lit(False),
        }
        changed["error"] = pl.when(failed).then(changed["error"]).otherwise("error")
        rows = both.with_columns(pl.when(done).then(value).otherwise(name).alias(name) for name, value in changed.items())
        return replace(self, restaurants=rows.select(*RESTAURANTS))

    def carry_over(self, previous: Results, unchanged: Collection[str]) -> Results:
        """These results and the rows that `previous` has for the unchanged restaurants, at no cost of this run."""
        kept = [name for name in previous.restaurants["restaurant_id"] if name in unchanged]
        return self._with(previous, pl.col("restaurant_id").is_in(kept))

    def keep_others(self, previous: Results) -> Results:
        """These results and all that `previous` has for restaurants that are not in them; its requests stay that run's own story."""
        others = pl.col("restaurant_id").is_in(self.restaurants["restaurant_id"].implode()).fill_null(False).not_()
        return replace(self._with(previous, others), rejects=both_rejects(self.rejects, previous.rejects.filter(others), self.id))

    def _with(self, previous: Results, rows: pl.Expr) -> Results:
        return replace(
            self,
            restaurants=pl.concat([self.restaurants, at_no_cost(previous.restaurants.filter(rows))]).sort("restaurant_id"),
            reviews=pl.concat([self.reviews, previous.reviews.filter(rows)]).sort("restaurant_id", "review_id"),
        )


def at_no_cost(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of an earlier run as they stand in this one, which has paid nothing for them."""
    run: dict[str, int | bool | None] = {"reused": True, "prompt_tokens": 0, "cached_tokens": 0, "output_tokens": 0}
    return rows.with_columns(pl.lit(run.get(name), rows.schema[name]).alias(name) for name in RUN_COLUMNS if name in rows.columns)


def both_rejects(rejects: pl.DataFrame, earlier: pl.DataFrame, name: str) -> pl.DataFrame:
    """This run's rejects and earlier ones. Rows that name nothing (`name` is null) belong to nothing that was replaced: the same row of the
    same file counts once. In a file that was written anew another one's reject may have taken a row's place; that is not the same row."""
    both = pl.concat([rejects, earlier], how="diagonal_relaxed")
    return both.unique(["source_file", "source_row", name], keep="first", maintain_order=True)


def parted(fingerprint: str | None) -> tuple[str | None, str | None]:
    """A fingerprint's parts: of the restaurant's own rows and settings, and of the figures of its comparison."""
    own, _, figures = (fingerprint or "").partition("-")
    return own or None, figures or None


def frame_of(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows to a table of exactly this schema; a column that a row does not name is null."""
    return pl.DataFrame([_column(name, [row.get(name) for row in rows], dtype) for name, dtype in schema.items()])


def _column(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Lists go through Arrow: Polars makes a Series of each of them, which took as long as all other columns together."""
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype=dtype, strict=True)
    return pl.Series(name, pl.from_arrow(pa.array(values, type=_arrow_type(dtype))), dtype=dtype)


@lru_cache(maxsize=64)
def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    return pl.Series([], dtype=dtype).to_arrow().type
