"""Which restaurants have to be ready when: whose deadline is in danger, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import polars as pl

from pipeline.forecast import Forecast
from pipeline.order import Standing


class Watch:
    """Over restaurants that wait in the order in which they would be opened, and the deadlines of some."""

    def __init__(self, waiting: Sequence[Standing], due_s: Mapping[str, float]) -> None:
        """`due_s`: seconds from the run's start to the deadline, by restaurant."""
        self._seconds = np.array([one.seconds for one in waiting], dtype=np.float64)
        self._places = np.array([place for place, one in enumerate(waiting) if one.restaurant_id in due_s], dtype=np.int64)
        self._due = np.array([due_s[waiting[place].restaurant_id] for place in self._places.tolist()], dtype=np.float64)
        self._ahead = np.cumsum(self._seconds)[self._places]  # its own work included
        self._waiting = np.ones(len(self._places), dtype=bool)

    def opened(self, place: int) -> None:
        """The one at this place waits no more, and nobody for it."""
        first = int(np.searchsorted(self._places, place))
        self._ahead[first:] -= self._seconds[place]
        if first < len(self._places) and self._places[first] == place:
            self._waiting[first] = False

    def in_danger(self, forecast: Forecast, now_s: float) -> int | None:
        """The place of the one that has to be opened now: of those who, if all before them went first, would be late by the forecast, the
        one with the earliest deadline; one that has passed comes after those that can still be met."""
        if not self._waiting.any():
            return None
        late = np.flatnonzero(self._waiting & (forecast.finish_s(self._ahead) > self._due))
        if not len(late):
            return None
        in_time = late[self._due[late] > now_s]
        some = in_time if len(in_time) else late
        return int(self._places[some[np.argmin(self._due[some])]])  # of equal ones the first


def with_deadlines(restaurants: pl.DataFrame, deadlines: Mapping[str, datetime], first_request: datetime) -> pl.DataFrame:
    """The table of restaurants with `deadline` and `deadline_met` filled in; a row that has a deadline, which a shard was told, keeps it.
    `first_request`: when `finished_s` began to count.

    Met: its own last answer was in by then (the comparison with its peers may come later), or it was carried over (then `finished_s` is
    null). One that failed or stayed pending has missed it.
    """
    if not deadlines:
        return restaurants
    schema = {"restaurant_id": pl.String(), "given": pl.Datetime("us", "UTC")}
    given = pl.DataFrame({"restaurant_id": list(deadlines), "given": list(deadlines.values())}, schema=schema)
    joined = restaurants.join(given, on="restaurant_id", how="left", maintain_order="left")
    joined = joined.with_columns(deadline=pl.coalesce("deadline", "given"))
    finished = pl.lit(first_request).cast(pl.Datetime("us", "UTC")) + pl.duration(microseconds=(pl.col("finished_s") * 1e6).round())
    done = pl.col("status").is_in(["ok", "partial"]) & (finished <= pl.col("deadline")).fill_null(True)
    met = pl.when(pl.col("deadline").is_not_null()).then(done)
    return joined.with_columns(deadline_met=met).select(restaurants.columns)


def deadline_counts(restaurants: pl.DataFrame) -> dict[str, int | list[str]] | None:
    """For the manifest: how many were met and missed, and who missed theirs; None where there were none."""
    given = restaurants.drop_nulls("deadline")
    if given.is_empty():
        return None
    missed = given.filter(~pl.col("deadline_met"))["restaurant_id"].sort().to_list()
    return {"met": given.height - len(missed), "missed": len(missed), "missed_by": missed}
