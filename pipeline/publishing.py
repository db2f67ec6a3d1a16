"""What a run has found out and what it keeps of the run before, on its way to readers: one range of restaurants after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import results
from pipeline.agreement import Agreement, Held
from pipeline.answering import Answered
from pipeline.beside import Beside
from pipeline.changes import Changes, merged
from pipeline.deadlines import deadline_counts, with_deadlines
from pipeline.dump import Dump
from pipeline.job import Job
from pipeline.manifest import Tally
from pipeline.previous import Previous
from pipeline.schemas import REQUESTS, RESTAURANTS
from pipeline.tables import Results, same_rows
from pipeline.taken import Taken, delayed, with_taken


@dataclass(frozen=True, slots=True)
class Publication:
    """`changed`: what the run had to look at; `before`: the run whose rows are carried over; `taken`: rows of shards that count as this
    run's."""

    dump: Dump
    changed: Changes
    answered: Answered
    before: Previous[Results] | None
    beside: Beside | None
    job: Job
    taken: Taken | None = None

    @property
    def requests(self) -> pl.LazyFrame:
        """All that this run has asked, of restaurants and queries."""
        return pl.concat([self.answered.found.requests, self._queries_requests.lazy()])

    @property
    def all_requests(self) -> pl.LazyFrame:
        """Those of shards among them."""
        return pl.concat([self.requests, self.taken.requests()]) if self.taken else self.requests

    @property
    def first_request(self) -> datetime:
        """When it was asked, also where a shard asked it: from there on the rows count their seconds."""
        mine = self.answered.first_request
        return min(mine, self.taken.began) if self.taken else mine

    @property
    def own(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Requests and restaurants of this run, by ranges; then the queries' requests."""
        for tables, _ in self._found():
            yield tables.requests, tables.restaurants
        yield self._queries_requests, pl.DataFrame(schema=RESTAURANTS)

    @property
    def nothing_new(self) -> bool:
        """Whether readers see all this already."""
        if self.before is None or not self.changed.all_unchanged(self.before, self.job):
            return False
        if self.beside and not self.beside.unchanged:
            return False
        return all(kept is not None and same_rows(kept, tables) for kept, tables in self._parts())

    def write(
        self,
        work: Path,
        run_id: str,
        described: Callable[[Agreement | None, Mapping[str, Any] | None], Mapping[str, Any]],
        seconds: Mapping[str, float],
        check: Callable[[], None],
    ) -> Path:
        """The run's folder at `work`, complete; returns it. `described`: what its manifest says beside its counts, given the labels'
        agreement with the ratings, None where nobody can tell, and the deadlines that were met. `check` is called between two ranges and
        may raise. Raises TryAgain."""
        deadlines = {name: moment for name, moment in self.job.priorities.deadlines.items() if name in self.changed.fingerprints}
        tally, held, promised = Tally(Results, self.changed.fingerprints.keys()), Held(), [pl.DataFrame(schema=RESTAURANTS)]
        ranges = self.answered.found.ranges

        def parts() -> Iterator[Results]:
            for number, (_, tables) in enumerate(self._parts()):
                if number:
                    check()
                told = with_deadlines(tables.restaurants, deadlines, self.first_request)
                tally.add(tables)
                held.add(self.dump.part(number), tables.reviews)
                promised.append(told.drop_nulls("deadline"))
                more = [self._queries_requests] if number + 1 == len(ranges) else []
                yield replace(tables, restaurants=told, requests=pl.concat([tables.requests, *more]))

        def manifest() -> Mapping[str, Any]:
            said = described(held.told(agreed_before(self.before)), deadline_counts(pl.concat(promised)))
            found = tally.manifest(run_id, self.dump.files, self.all_requests, said, seconds)
            return self.beside.told(found) if self.beside else found

        return results.write(work, run_id, parts(), manifest, self.beside.files if self.beside else {})

    def _parts(self) -> Iterator[tuple[Results | None, Results]]:
        """By ranges, the tables of the run before, and those of this one: what is kept of the other is in them."""
        ranges, keep_others = self.answered.found.ranges, self.job.update and self.before is not None and self.before.here
        for number, (tables, second) in enumerate(self._found()):
            kept = self.before.read(ranges.of(number)) if self.before else None
            yield kept, merged(tables, second, kept, self.changed.unchanged, keep_others)

    def _found(self) -> Iterator[tuple[Results, pl.DataFrame]]:
        """By ranges, what this run and the shards that it takes over have found out, comparisons aside, and this run's comparisons."""
        if self.taken is None:
            yield from self.answered.found.parts(self.dump)
            return
        for number, (tables, second) in enumerate(self.answered.found.parts(self.dump)):
            taken = self.taken.part(self.answered.found.ranges.of(number), self.first_request)
            yield with_taken(tables, taken, self._later_s), delayed(second, self._later_s)

    @property
    def _later_s(self) -> float:
        """Seconds from the first request of all to this run's own."""
        return (self.answered.first_request - self.first_request).total_seconds()

    @property
    def _queries_requests(self) -> pl.DataFrame:
        return delayed(self.beside.tables.requests, self._later_s) if self.beside else pl.DataFrame(schema=REQUESTS)


def agreed_before(before: Previous[Results] | None) -> float | None:
    """How well the labels of the run before agreed with the ratings, both sides weighed alike; None where nobody knows."""
    found = (before.manifest.get("rating_agreement") or {}) if before else {}
    return found.get("balanced")
