"""What shards have computed and this run takes over as its own: their rows, and what they cost."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline import summed
from pipeline.durable import first_line
from pipeline.errors import TryAgain
from pipeline.measured_costs import Requests
from pipeline.schemas import REQUESTS
from pipeline.shards import Made
from pipeline.tables import Results, read_again, scan

TIMES = ("finished_s", "compared_s")


@dataclass(frozen=True)
class Taken:
    """Seconds of all of them count from `began`: the first request of any. `names`: restaurants that are taken over, None for all."""

    shards: Sequence[Made]
    names: Collection[str] | None = None

    @cached_property
    def began(self) -> datetime:
        return min(one.first_request for one in self.shards)

    def part(self, of_these: pl.Expr, began: datetime) -> list[pl.DataFrame]:
        """Their restaurants, reviews and requests, of one range of restaurants, with seconds from `began` on. Raises TryAgain."""
        found = [self._of(one, of_these, began) for one in self.shards]
        return [pl.concat(parts) for parts in zip(*found, strict=True)]

    def requests(self) -> pl.LazyFrame:
        """All of them, with times of their own runs, for sums."""
        rows = [self._chosen(scan(one.folder, "requests")) for one in self.shards]
        return pl.concat([pl.LazyFrame(schema=REQUESTS), *rows])

    def costs(self, own: Mapping[str, Any], requests: Requests) -> dict[str, Any]:
        """As they stand in a manifest: this run's and theirs together. `requests`: of all."""
        return summed.costs(own, [one.manifest["costs"] for one in self.shards], requests)

    def added(self, name: str, own: Mapping[str, float]) -> dict[str, float]:
        """Numbers by name, `seconds` or `store` in a manifest: this run's and theirs together."""
        return summed.summed([own, *(one.manifest[name] for one in self.shards)])

    def _of(self, one: Made, of_these: pl.Expr, began: datetime) -> list[pl.DataFrame]:
        later = (one.first_request - began).total_seconds()
        try:
            tables = read_again(one.folder, ("restaurants", "reviews", "requests"), of_these)
        except (OSError, PolarsError, PanicException) as error:
            raise TryAgain(f"{one.folder}: the tables of {one.shard} cannot be read any more ({first_line(error)}); run again") from None
        return [delayed(self._chosen(table.lazy()).collect(), later) for table in tables]

    def _chosen(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        if self.names is None:
            return rows
        these = pl.LazyFrame({"restaurant_id": pl.Series(sorted(self.names), dtype=pl.String)})
        return rows.join(these, on="restaurant_id", how="semi", maintain_order="left")


def delayed(rows: pl.DataFrame, seconds: float) -> pl.DataFrame:
    """Rows whose times counted from a moment so many seconds later."""
    return rows.with_columns(pl.col(name) + seconds for name in TIMES if name in rows.columns) if seconds else rows


def with_taken(tables: Results, taken: Sequence[pl.DataFrame], later_s: float) -> Results:
    """These tables, whose seconds count from a moment so much later, and what was `taken` of other restaurants. Rejects stay: they are this
    run's, which has read the dump itself."""
    restaurants, reviews, requests = taken
    return Results(
        pl.concat([delayed(tables.restaurants, later_s), restaurants]).sort("restaurant_id"),
        pl.concat([tables.reviews, reviews]).sort("restaurant_id", "review_id"),
        tables.rejects,
        pl.concat([delayed(tables.requests, later_s), requests]),
    )


def described(shards: Sequence[Made]) -> dict[str, Any]:
    """For the manifest of the run that takes all of them over: whose work it is."""
    first = shards[0]
    return {"count": first.shard.count, "of": first.of, "basis": first.basis, "runs": [_told(one) for one in shards]}


def _told(one: Made) -> Mapping[str, Any]:
    said = one.manifest
    return {
        "shard": one.shard.index,
        "restaurants": one.marks.height,
        **{name: said[name] for name in ("run_id", "first_request", "finished_at", "tokens", "seconds")},
        "engine": said["costs"]["engine"],
    }
