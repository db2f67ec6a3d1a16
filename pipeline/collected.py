"""Outcomes to the tables of a run: an outcome becomes its rows as it comes and is dropped with its texts and prompts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

import polars as pl

from pipeline.dump import Dump
from pipeline.records import Outcome
from pipeline.rows import request_row, restaurant_row, review_rows, second_row
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS, SECOND
from pipeline.spread import WHOLE, Ranges, Spread
from pipeline.tables import Results


class Collected:
    """What a run has found out, by ranges of restaurants."""

    def __init__(self, tasks: Sequence[str], fingerprints: Mapping[str, str], due: Collection[str] = (), ranges: Ranges = WHOLE) -> None:
        """`fingerprints` by restaurant: a row in which something failed that may succeed another time gets none, so that the next run looks
        at it again. `due`: restaurants whose rows show a comparison, are carried over, and may get another one."""
        self._tasks, self._fingerprints, self._due, self.ranges = tasks, fingerprints, due, ranges
        self._restaurants, self._second = Spread("restaurants", RESTAURANTS, ranges), Spread("second", SECOND, ranges)
        self._reviews, self._requests = Spread("reviews", REVIEWS, ranges), Spread("requests", REQUESTS, ranges)

    def take(self, outcomes: Iterable[Outcome]) -> Collected:
        """Itself, with these in it."""
        for outcome in outcomes:
            name = outcome.restaurant.restaurant_id
            self._requests.add(map(request_row, outcome.asked))
            if not outcome.follows:
                fingerprint = None if outcome.again else self._fingerprints[name]
                self._restaurants.add([{**restaurant_row(outcome, self._tasks), "fingerprint": fingerprint}])
                self._reviews.add(review_rows(outcome, self._tasks))
            elif not (outcome.pending and name in self._due):  # the committed comparison stays until a run gets there
                row = second_row(outcome)
                self._second.add([row] if row else ())
        return self

    def join(self, restaurants: pl.DataFrame, reviews: pl.DataFrame, requests: pl.DataFrame, second: pl.DataFrame) -> None:
        """Takes in rows that have been made elsewhere."""
        for table, rows in zip(
            (self._restaurants, self._reviews, self._requests, self._second), (restaurants, reviews, requests, second), strict=True
        ):
            table.append(rows)

    @property
    def requests(self) -> pl.LazyFrame:
        """Rows of `requests.parquet`."""
        return self._requests.scan()

    def select(self, name: str, wanted: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """What is `wanted` of restaurants or reviews."""
        table = {"restaurants": self._restaurants, "reviews": self._reviews}[name]
        return wanted(table.scan()).collect(engine="streaming")

    def part(self, number: int, rejects: pl.DataFrame) -> tuple[Results, pl.DataFrame]:
        """The tables of one range, comparisons not yet in them, and rows of SECOND: what comparisons there are. `rejects`: of this
        range."""
        restaurants, reviews = self._restaurants.part(number), self._reviews.part(number)
        tables = Results(
            restaurants.sort("restaurant_id"), reviews.sort("restaurant_id", "review_id"), rejects, self._requests.part(number)
        )
        return tables, self._second.part(number)

    def parts(self, dump: Dump) -> Iterator[tuple[Results, pl.DataFrame]]:
        """`part` of each range; `dump`: whose rejects are among them."""
        return (self.part(number, dump.rejects_of(number)) for number in range(len(self.ranges)))

    def tables(self, dump: Dump) -> Results:
        """All in one, for those who hold everything anyway."""
        parts = [tables.compared(second) for tables, second in self.parts(dump)]
        return Results(*(pl.concat([getattr(one, name) for one in parts]) for name in ("restaurants", "reviews", "rejects", "requests")))
