"""All restaurants that a run looks at, counted one by one or, of a large dump, estimated and held against a sample."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import polars as pl

from pipeline.amounts import Amounts, Longest
from pipeline.answering import grouped, tasks_for
from pipeline.around import around
from pipeline.changes import Changes
from pipeline.dump import Dump
from pipeline.estimating import Estimate, estimate, rates
from pipeline.expected import Following
from pipeline.groups import Groups
from pipeline.job import Job
from pipeline.order import Standing
from pipeline.planned import Check
from pipeline.prefix_cache import PrefixCache
from pipeline.ranking import Ranking
from pipeline.records import Praise
from pipeline.replay import Replay
from pipeline.restaurants import tokenise
from pipeline.runtime import Runtime
from pipeline.schedule import Schedule
from pipeline.tasks.calibration import Fit
from pipeline.tasks.comparison import Stand
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tasks.summary import SummaryTask
from pipeline.work import Task, Work

SAMPLE_REVIEWS = 5_000
"""Of the restaurants that an estimate is held against."""


@dataclass
class Survey:
    """`answered`: restaurants that need no new answer. `read_before`: as in `expected.Following`."""

    amounts: Amounts
    ranking: Ranking
    method: Literal["exact", "estimated"] = "exact"
    chunks: int = 0
    truncated: int = 0
    answered: int = 0
    read_before: float = 0.0
    longest: list[Longest] = field(default_factory=list)
    refused: list[Longest] = field(default_factory=list)
    sampled_restaurants: int = 0
    checks: list[Check] = field(default_factory=list)


def survey(
    changed: Changes, job: Job, schedule: Schedule, fits: Mapping[str, Fit], runtime: Runtime, replay: Replay, exact_reviews: int
) -> Survey:
    """What `changed` leaves to be asked. `exact_reviews`: up to so many reviews every prompt is made and counted."""
    dump = changed.dump
    if not dump.height and not changed.compared.due:
        return Survey(replay.amounts, Ranking(schedule))
    tasks = tasks_for(job.tasks, runtime.tokens, fits)
    groups, budget = grouped(dump, runtime, tasks, job)
    counting = _Counting(changed, job, schedule, fits, runtime, replay, tasks, budget)
    if dump.height <= exact_reviews:
        return counting.count(groups)
    return _estimated(counting, groups, dump)


@dataclass
class _Counting:
    changed: Changes
    job: Job
    schedule: Schedule
    fits: Mapping[str, Fit]
    runtime: Runtime
    replay: Replay
    tasks: list[Task]
    budget: int

    @property
    def sentiment(self) -> SentimentTask:
        return SentimentTask(self.runtime.tokens, self.fits)

    def opening(self) -> Schedule:
        """One that has opened nobody yet: it remembers whom it opens, and for which of them a deadline was in danger."""
        return Schedule(self.schedule.order, self.job.priorities, self.schedule.predictor)

    def in_turn(self, groups: Groups, opening: Schedule) -> Iterator[Standing]:
        """As a run opens them where it goes as fast as predicted."""
        expected = partial(self.schedule.predictor.expected, tasks=self.job.tasks, chunk_tokens=self.budget)
        return opening.in_turn(groups.standings(expected))

    def count(self, groups: Groups) -> Survey:
        """Every restaurant of these groups."""
        tokens, compared = self.runtime.tokens, self.changed.compared
        readable = {language for language, one in self.fits.items() if one.readable}
        following = Following(self.replay, tokens, self.sentiment, SummaryTask(tokens, readable), compared)
        opening = self.opening()
        found = Survey(self.replay.amounts, Ranking(opening))
        stands: dict[str, Stand] = dict(compared.due)
        tables: dict[str, Praise | None] = dict(compared.tables)
        running = set()
        for restaurant in tokenise(groups.open(self.in_turn(groups, opening)), tokens, self.budget, self.job.max_reviews):
            found.chunks += len(restaurant.chunks)
            found.truncated += sum("truncated" in flags for flags in restaurant.flags.values())
            if self.replay.foreseen:
                self.replay.foreseen.open(restaurant.restaurant)
            if not restaurant.chunks:
                continue
            work, name = Work(restaurant), restaurant.restaurant.restaurant_id
            reached = self.replay.drive(work, self.tasks)
            following.add(restaurant, reached)
            found.answered += not reached.open
            found.ranking.add(restaurant.restaurant, reached.unanswered)
            if "strengths" in reached.open:
                running.add(name)
            elif strengths := work.results.get("strengths"):
                tables[name] = strengths.table
                stands[name] = Stand(name, compared.languages[name], strengths.table, strengths.found)
            else:
                tables[name] = None
        if "strengths" in self.job.tasks:
            following.compare(stands, tables, running)
        found.read_before = following.read_before
        found.longest, found.refused = [one for _, _, one in self.replay.longest], self.replay.refused
        return found


def _estimated(counting: _Counting, groups: Groups, dump: Dump) -> Survey:
    """The whole by its bytes, corrected by what of a sample of restaurants is stored."""
    tokens, compared, job = counting.runtime.tokens, counting.changed.compared, counting.job
    languages = sorted(language for language, one in counting.fits.items() if one.readable)
    beside = around(counting.tasks, counting.sentiment, tokens, languages)
    per_byte = rates(dump, tokens)

    def by_bytes(some: Groups) -> Estimate:
        return estimate(some, per_byte, beside, compared, counting.budget, job.max_reviews, counting.replay.cache)

    chosen = _sample(groups)
    part = dump.without(set(groups.table["restaurant_id"]) - chosen)
    few, _ = grouped(part, counting.runtime, counting.tasks, job)
    whole = by_bytes(groups)
    run = counting.replay
    apart = replace(counting, replay=Replay(run.stored, PrefixCache(run.cache.block), run.max_model_len, foreseen=run.foreseen))
    exact, small = apart.count(few), by_bytes(few)
    checks = [
        Check(task, stage, one.requests, real.requests + real.stored, one.prompt_tokens, real.prompt_tokens + real.stored_tokens)
        for (task, stage), one in small.amounts
        if one.certainty == "estimated" and (real := exact.amounts.of(task, stage))
    ]
    found = Survey(run.amounts, _ranked(groups, counting), "estimated", whole.chunks, whole.truncated)
    for (task, stage), one in whole.amounts:
        real, amount = exact.amounts.of(task, stage), found.amounts.of(task, stage)
        known = real.stored / (real.stored + real.requests) if real.stored + real.requests else 0.0
        amount.stored += round(known * one.requests)
        amount.stored_tokens += known * one.prompt_tokens
        amount.certainty = one.certainty
        left = 1 - known
        amount.requests += left * one.requests
        amount.prompt_tokens += left * one.prompt_tokens
        amount.cached_tokens += left * one.cached_tokens
        amount.least, amount.most = amount.least + one.least, amount.most + one.most
    found.read_before, found.longest = whole.read_before, whole.longest
    found.refused = [one for one in whole.longest if one.needs > run.max_model_len]
    found.sampled_restaurants, found.checks = len(chosen), checks
    return found


def _sample(groups: Groups) -> set[str]:
    """Restaurants by hash, until there are SAMPLE_REVIEWS; one that is too large for what is left is passed over."""
    rows = groups.table.filter(pl.col("review_count") > 0).select("restaurant_id", "review_count").iter_rows()
    left, chosen = SAMPLE_REVIEWS, set()
    for name, count in sorted(rows, key=lambda row: hashlib.blake2b(row[0].encode(), digest_size=8).digest()):
        if count <= left:
            chosen.add(name)
            left -= count
    return chosen


def _ranked(groups: Groups, counting: _Counting) -> Ranking:
    """By what restaurants are admitted by, which is what a run goes by before it has tokenised them."""
    opening = counting.opening()
    turns = pl.DataFrame(
        [(one.restaurant_id, one.seconds) for one in counting.in_turn(groups, opening)],
        schema={"restaurant_id": pl.String(), "seconds": pl.Float64()},
        orient="row",
    )
    opened = turns.join(groups.table, on="restaurant_id", how="left", maintain_order="left")
    return Ranking(opening, opened.filter(pl.col("review_count") > 0))
