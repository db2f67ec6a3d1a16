"""What a run has found out and what it keeps of the run before, on its way to readers: one range of restaurants after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
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


@dataclass(frozen=True, slots=True)
class Publication:
    """`changed`: what the run had to look at; `before`: the run whose rows are carried over."""

    dump: Dump
    changed: Changes
    answered: Answered
    before: Previous[Results] | None
    beside: Beside | None
    job: Job

    @property
    def requests(self) -> pl.LazyFrame:
        """All of the run, of restaurants and queries."""
        return pl.concat([self.answered.found.requests, self._queries_requests.lazy()])

    @property
    def own(self) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
        """Requests and restaurants of this run, by ranges; then the queries' requests."""
        for tables, _ in self.answered.found.parts(self.dump):
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
                told = with_deadlines(tables.restaurants, deadlines, self.answered.first_request)
                tally.add(tables)
                held.add(self.dump.part(number), tables.reviews)
                promised.append(told.drop_nulls("deadline"))
                more = [self._queries_requests] if number + 1 == len(ranges) else []
                yield replace(tables, restaurants=told, requests=pl.concat([tables.requests, *more]))

        def manifest() -> Mapping[str, Any]:
            said = described(held.told(agreed_before(self.before)), deadline_counts(pl.concat(promised)))
            found = tally.manifest(run_id, self.dump.files, self.requests, said, seconds)
            return self.beside.told(found) if self.beside else found

        return results.write(work, run_id, parts(), manifest, self.beside.files if self.beside else {})

    def _parts(self) -> Iterator[tuple[Results | None, Results]]:
        """By ranges, the tables of the run before, and those of this one: what is kept of the other is in them."""
        ranges, keep_others = self.answered.found.ranges, self.job.update and self.before is not None and self.before.here
        for number, (tables, second) in enumerate(self.answered.found.parts(self.dump)):
            kept = self.before.read(ranges.of(number)) if self.before else None
            yield kept, merged(tables, second, kept, self.changed.unchanged, keep_others)

    @property
    def _queries_requests(self) -> pl.DataFrame:
        return self.beside.tables.requests if self.beside else pl.DataFrame(schema=REQUESTS)


def agreed_before(before: Previous[Results] | None) -> float | None:
    """How well the labels of the run before agreed with the ratings, both sides weighed alike; None where nobody knows."""
    found = (before.manifest.get("rating_agreement") or {}) if before else {}
    return found.get("balanced")
