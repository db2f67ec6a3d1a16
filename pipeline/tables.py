"""The tables of a run as one thing, and rows taken over from a run before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self

import polars as pl

from pipeline.places import Folder, inside
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS, RUN_COLUMNS, SECOND, TOKENS


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
    stands for, and that table's name; `id`: names it. It has columns `fingerprint` and `reused`. `schemas`: of the tables that every
    version may change. `beside`: others that a run may have. `counts`: for the manifest, beside those that all jobs have."""

    job: ClassVar[str]
    plural: ClassVar[str]
    id: ClassVar[str]
    schemas: ClassVar[Mapping[str, Mapping[str, pl.DataType]]]
    beside: ClassVar[Sequence[str]]

    @property
    def rows(self) -> pl.DataFrame: ...
    @property
    def rejects(self) -> pl.DataFrame: ...
    @property
    def counts(self) -> Mapping[str, Any]: ...
    @classmethod
    def read(cls, folder: Folder, rows: pl.Expr | None = None) -> Self: ...


@dataclass(frozen=True, slots=True)
class Results:
    """The four tables of `analyze`."""

    job: ClassVar[str] = "analyze"
    plural: ClassVar[str] = "restaurants"
    id: ClassVar[str] = "restaurant_id"
    schemas: ClassVar[Mapping[str, Mapping[str, pl.DataType]]] = {"restaurants": RESTAURANTS, "reviews": REVIEWS, "requests": REQUESTS}
    beside: ClassVar[Sequence[str]] = ("queries", "query_rejects")
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
    def read(cls, folder: Folder, rows: pl.Expr | None = None) -> Self:
        """A run's tables, or `rows` of them. Raises OSError, PolarsError."""
        restaurants, reviews, rejects = read_again(folder, ("restaurants", "reviews", "rejects"), rows)
        return cls(restaurants, reviews, rejects, pl.DataFrame(schema=REQUESTS))

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


def scan(folder: Folder, name: str) -> pl.LazyFrame:
    """One table of a committed run."""
    return pl.scan_parquet(inside(folder, f"{name}.parquet"), glob=False)


def read_again(folder: Folder, names: Collection[str], rows: pl.Expr | None) -> list[pl.DataFrame]:
    """Tables of a committed run for the one after it, or `rows` of them; requests are their own run's story, and the largest table."""
    return [scan(folder, name).filter(pl.lit(True) if rows is None else rows).collect() for name in names]


def same_rows(one: Published, other: Published) -> bool:
    """Whether both have the same rows from the same input, and the same rejects."""
    rows, place = [one.id, "fingerprint"], ["source_file", "source_row"]
    return one.rows.select(rows).equals(other.rows.select(rows)) and one.rejects.sort(place).equals(other.rejects.sort(place))


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
