"""From a dump to its tables on many workers: first what restaurants say of themselves, piece by piece, then their comparisons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial

import polars as pl

from pipeline.answering import Answered, answer_all, grouped, tasks_for
from pipeline.beside import Beside
from pipeline.collected import Collected
from pipeline.comparing import Comparing, stands
from pipeline.costs import CostModel
from pipeline.dealing import LEAST_S, deal, pieces
from pipeline.dump import Dump
from pipeline.job import Job, Progress, Stop
from pipeline.limits import Limits
from pipeline.records import Praise
from pipeline.runtime import Runtime
from pipeline.scale.cut import Cut
from pipeline.scale.piece import Done, Limit, Piece, Rows, comparisons, first_stages
from pipeline.scale.pool import Pool
from pipeline.schedule import Schedule
from pipeline.steps import StepLog
from pipeline.store import Store
from pipeline.stored import Begun
from pipeline.summed import summed
from pipeline.taken import delayed
from pipeline.tasks.calibration import Fit
from pipeline.tasks.comparison import Stand


def answer_on(
    pool: Pool,
    steps: StepLog,
    dump: Dump,
    job: Job,
    schedule: Schedule,
    fits: Mapping[str, Fit],
    fingerprints: Mapping[str, str],
    comparing: Comparing,
    runtime: Runtime,
    store: Store,
    progress: Progress,
    stop: Stop,
    beside: Beside | None = None,
) -> Answered:
    """As `answering.answer_all`, on the workers of a pool; `steps`: gets those that they take. Comparisons come second, when all tables of
    praise are there: peers are with other workers, who need not wait for one another so."""
    pool.mark = store.mark
    workers = pool.room.workers
    costs = _planned(dump, job, schedule, fits, runtime, progress)
    first = set(job.priorities.urgent) | set(job.priorities.deadlines)
    dealt = pieces(costs, workers, round(1000 * LEAST_S), first)
    shown = {name for name, stand in comparing.due.items() if stand.shown is not None}
    began = schedule.clock.moment(schedule.clock.now_s)
    whole = _Whole(Collected(job.tasks, fingerprints, shown, dump.ranges))
    made = _Pieces(job, fits, schedule.predictor.model, costs, store.begun)
    for done in pool.run(made.of_restaurants(dealt, dump, fingerprints, comparing), stop, progress.elsewhere):
        whole.take(done, (done.first_request - began).total_seconds(), steps)
    if "strengths" in job.tasks:
        tables, stand = stands(whole, comparing.languages, dump.ranges)
        due = {**comparing.due, **{name: one for name, one in stand.items() if name not in comparing.later}}
        second = made.of_comparisons(due, {**comparing.tables, **tables}, comparing, workers, dump, whole.left(job.limits))
        for done in pool.run(second, stop, progress.elsewhere):
            whole.take(done, (done.first_request - began).total_seconds(), steps)
    if beside:
        nothing, last = dump.only(()), replace(job, limits=replace(job.limits, max_prompt_tokens=whole.left(job.limits)))
        queries = answer_all(nothing, last, schedule, fits, {}, Comparing({}, {}), runtime, store, progress, stop, beside)
        whole.idle_s += queries.idle_s
    about = {"count": len(pool.loaded_s), "pieces": made.number, "deaths": pool.deaths, "loaded_s": pool.loaded_s}
    return Answered(whole.found, began, whole.idle_s, about, whole.store)


def _planned(dump: Dump, job: Job, schedule: Schedule, fits: Mapping[str, Fit], runtime: Runtime, progress: Progress) -> dict[str, int]:
    """Milliseconds by restaurant that an engine is expected to take, 1 at the least; tells what is planned."""
    groups, budget = grouped(dump, runtime, tasks_for(job.tasks, runtime.tokens, fits), job)
    progress.planned(groups.table.height, int(groups.table["prompt_tokens"].sum()))
    if schedule.assumption:
        progress.stage(schedule.assumption)
    expected = partial(schedule.predictor.expected, tasks=job.tasks, chunk_tokens=budget)
    return {one.restaurant_id: max(round(1000 * one.seconds), 1) for one in groups.standings(expected)}


@dataclass
class _Pieces:
    """Made when a worker is free for them. `number`: so far."""

    job: Job
    fits: Mapping[str, Fit]
    rates: CostModel
    costs: Mapping[str, int]
    begun: Begun | None
    number: int = 0

    def of_restaurants(
        self, dealt: list[list[str]], dump: Dump, fingerprints: Mapping[str, str], comparing: Comparing
    ) -> Iterator[tuple[Piece, Rows]]:
        """Their first stages."""
        cut, all_costs = Cut(dump, dealt), sum(self.costs.values())
        for number, names in enumerate(dealt):
            marks = {name: fingerprints[name] for name in names}
            share = sum(self.costs[name] for name in names) / all_costs
            yield (
                self._piece(marks, first_stages(marks, comparing), self._limit(self.job.limits.max_prompt_tokens, share)),
                cut.take(number),
            )

    def of_comparisons(
        self,
        due: Mapping[str, Stand],
        tables: Mapping[str, Praise | None],
        comparing: Comparing,
        workers: int,
        dump: Dump,
        left: int | None,
    ) -> Iterator[tuple[Piece, Rows]]:
        """Second stages, about as many for each worker. `left`: prompt tokens that may be asked, where they are limited."""
        none = Cut(dump.only(()), []).take(0)
        for names in deal(dict.fromkeys(due, 1), workers):
            if names:
                these = comparisons({name: due[name] for name in names}, comparing, tables)
                yield self._piece({}, these, self._limit(left, len(names) / len(due))), none

    def _piece(self, marks: Mapping[str, str], these: Comparing, limit: Limit) -> Piece:
        self.number += 1
        return Piece(self.number, marks, these, self.fits, limit, self.rates, self.begun)

    def _limit(self, most: int | None, share: float) -> Limit:
        """`most`: prompt tokens for all."""
        return Limit(self.job.limits.stop_at, None if most is None else int(most * share))


class _Whole:
    """What all workers have found. As rows: of restaurants that the run's limits have not left."""

    def __init__(self, found: Collected) -> None:
        self.found = found
        self.idle_s, self.store = 0.0, dict[str, float]()
        self._asked = 0

    def take(self, done: Done, later_s: float, steps: StepLog) -> None:
        later_s = max(later_s, 0.0)  # the clocks of two machines may differ
        self.found.join(*(delayed(rows, later_s) for rows in (done.restaurants, done.reviews, done.requests, done.second)))
        self.idle_s += done.idle_s
        self._asked += int(done.requests["prompt_tokens"].sum())
        self.store = summed([self.store, done.store])
        steps.join(done.steps, done.spent)

    def left(self, limits: Limits) -> int | None:
        """Of the prompt tokens that the run may ask; None where they are not limited."""
        return None if limits.max_prompt_tokens is None else max(limits.max_prompt_tokens - self._asked, 0)

    @cached_property
    def names(self) -> set[str]:
        """Known when all first stages are there."""
        begun = self.found.select("restaurants", lambda rows: rows.filter(pl.col("status") != "pending").select("restaurant_id"))
        return set(begun["restaurant_id"])

    def select(self, name: str, wanted: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        names = pl.LazyFrame({"restaurant_id": pl.Series(sorted(self.names), dtype=pl.String)})
        return self.found.select(name, lambda rows: wanted(rows.join(names, on="restaurant_id", how="semi")))
