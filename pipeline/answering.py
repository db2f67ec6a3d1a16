"""From a dump to its tables: the tasks, the restaurants, and the loop between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol, runtime_checkable

from pipeline.beside import Beside
from pipeline.collected import Collected
from pipeline.comparing import Comparing
from pipeline.dump import Dump
from pipeline.errors import BadConfiguration
from pipeline.groups import Groups, group, sample_rates
from pipeline.job import LEAST_CHUNK_TOKENS, Job, Progress, Stop
from pipeline.reads import together
from pipeline.records import Outcome, Restaurant
from pipeline.restaurants import Tokenised, tokenise
from pipeline.run import Loop
from pipeline.runtime import Runtime
from pipeline.schedule import Schedule
from pipeline.store import Store
from pipeline.tasks.calibration import Fit
from pipeline.tasks.comparison import ComparisonTask
from pipeline.tasks.kind import Means
from pipeline.tasks.known import KINDS, TASKS
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tokens import Tokens
from pipeline.watched import watched
from pipeline.work import Task

WORDINGS: dict[str, str] = {name: kind.wording for name, kind in KINDS.items()}
"""By task."""


@dataclass(frozen=True, slots=True)
class Answered:
    """`found`: of each restaurant, and comparisons of others that have changed with these. `idle_s`: seconds between requests in which the
    engine had nothing to do. `first_request`: when it was asked, by the run's clock. `workers` and their `store`'s counts: for the
    manifest, where there were any."""

    found: Collected
    first_request: datetime
    idle_s: float = 0.0
    workers: Mapping[str, Any] | None = None
    store: Mapping[str, float] | None = None


@runtime_checkable
class Many(Protocol):
    """A machine that is many, and has its own way to do what `answer_all` does."""

    def answer_all(
        self,
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
    ) -> Answered: ...


def answer_all(
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
    """All that the tasks find out of a dump's restaurants, in its ranges of them. Where nothing has to be asked, no engine is loaded.

    Raises EngineDied when the engine dies; what was inside is then suspect in the store.
    """
    shown = {name for name, stand in comparing.due.items() if stand.shown is not None}
    found = Collected(job.tasks, fingerprints, shown, dump.ranges)
    if nothing_to_ask(dump, comparing, beside):
        nothing = (Outcome(one, {}, {}, [], {}, 0.0) for one in group(dump).hand_out(["arrival"]))
        return Answered(found.take(nothing), schedule.clock.moment(schedule.clock.now_s))
    tokens = runtime.tokens
    tasks = tasks_for(job.tasks, tokens, fits)
    groups, budget = grouped(dump, runtime, tasks, job)
    progress.planned(groups.table.height, int(groups.table["prompt_tokens"].sum()))
    if schedule.assumption:
        progress.stage(schedule.assumption)
    comparison = ComparisonTask(tokens, comparing.peers, comparing.languages, comparing.later) if "strengths" in job.tasks else None
    loop = Loop(tasks, schedule, runtime.engine, progress, store, job.limits, comparison, comparing.tables, dump.ranges.folder)
    in_turn = schedule.in_turn(groups.standings(partial(schedule.predictor.expected, tasks=job.tasks, chunk_tokens=budget)))
    restaurants = tokenise(groups.open(in_turn), tokens, budget, job.max_reviews)
    with watched(loop, runtime.engine, stop, store.suspect):
        for name, stand in comparing.due.items():
            if comparison:
                loop.follow(Restaurant(name, ()), stand)
        if beside:
            beside.begin(loop)
        outcomes = all_outcomes(loop, restaurants, groups.hand_out(["arrival"]), job.tasks, stop, beside)
        return Answered(found.take(outcomes), schedule.clock.moment(schedule.clock.now_s - loop.now_s), loop.idle_s)


def nothing_to_ask(dump: Dump, comparing: Comparing, beside: Beside | None) -> bool:
    """Whether no engine is needed, whatever the store knows."""
    return not dump.height and not comparing.due and not (beside and beside.due)


def all_outcomes(
    loop: Loop,
    restaurants: Iterator[Tokenised],
    everyone: Iterable[Restaurant],
    tasks: Sequence[str],
    check: Callable[[], None],
    beside: Beside | None = None,
) -> Iterator[Outcome]:
    """Those of the loop, then, where it ended early, those of `everyone` that it never began. What is of queries `beside` goes there."""
    begun = set()
    for outcome in loop.run(restaurants, check):
        if beside and outcome.beside:
            beside.take(outcome)
            continue
        if not outcome.follows:
            begun.add(outcome.restaurant.restaurant_id)
        yield outcome
    if loop.ended:
        for one in everyone:
            if one.restaurant_id not in begun:
                yield _not_reached(one, tasks, loop.ended)


def _not_reached(restaurant: Restaurant, tasks: Sequence[str], why: str) -> Outcome:
    return Outcome(restaurant, {}, dict.fromkeys(tasks, f"not reached, {why}"), [], {}, 0.0, pending=True, again=True)


def tasks_for(names: Sequence[str], tokens: Tokens, fits: Mapping[str, Fit]) -> list[Task]:
    """The tasks of these names, in the order of TASKS."""
    means = Means(tokens, fits, SentimentTask(tokens, fits))
    return [KINDS[name].make(means) for name in TASKS if name in names]


def grouped(dump: Dump, runtime: Runtime, tasks: Sequence[Task], job: Job) -> tuple[Groups, int]:
    """A dump's restaurants, and the tokens of reviews in one chunk. Raises BadConfiguration where the model takes too few."""
    max_model_len = runtime.engine.max_model_len
    overhead = max(task.overhead for task in tasks)
    budget = min(job.chunk_tokens, max_model_len - overhead)
    if budget < LEAST_CHUNK_TOKENS:
        raise BadConfiguration(f"the model takes {max_model_len} tokens, {overhead} of them are not for reviews; raise max_model_len")
    reads = together(task.reads for task in tasks)
    rates = sample_rates(dump, runtime.tokens)
    return group(dump, rates, reads, job.max_reviews, runtime.machine.block_size), budget
