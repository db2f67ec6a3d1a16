"""The whole measurement: what was drawn is asked, what comes back is measured, and what it cost is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import polars as pl

from pipeline.calibrations import fit_sentiment
from pipeline.contract import REVIEWS
from pipeline.dump import Dump
from pipeline.engine import Engine
from pipeline.evaluation.labels import BY_RATING
from pipeline.evaluation.samples import LEFT_OUT_PERCENT, Evaluation, Samples, Split
from pipeline.evaluation.sentiment import measure_sentiment, scored
from pipeline.evaluation.texts import measure_strengths, measure_summaries
from pipeline.forms import in_form
from pipeline.groups import group, sample_rates
from pipeline.job import CHUNK_TOKENS, Progress
from pipeline.order import ORDERS
from pipeline.reads import together
from pipeline.records import Asked, Outcome
from pipeline.restaurants import tokenise
from pipeline.rows import request_row, restaurant_row
from pipeline.run import Loop
from pipeline.sampling import MAX_REVIEWS
from pipeline.spread import Spread
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tasks.strengths import StrengthsTask
from pipeline.tasks.summary import SummaryTask
from pipeline.tokens import Tokens
from pipeline.work import Task

TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Bench:
    """What computes: a model's tokenizer, its engine, and who is told and asked meanwhile. `check` may raise to stop."""

    tokens: Tokens
    engine: Engine
    progress: Progress
    check: Callable[[], None] = lambda: None


def evaluate(dump: Dump, samples: Samples, what: Evaluation, bench: Bench) -> dict[str, Any]:
    """Figures by task, and the cost of each pass. `samples`: from `draw` on this dump. Raises BadConfiguration, EngineDied."""
    fits = fit_sentiment(samples.languages, bench.tokens, bench.engine, bench.progress, bench.check)
    readable = {language for language, one in fits.items() if one.readable}
    sentiment = SentimentTask(bench.tokens, fits)
    make: Mapping[str, Callable[[], Task]] = {
        "summary": lambda: SummaryTask(bench.tokens, readable),
        "strengths": lambda: StrengthsTask(bench.tokens, readable, sentiment),
    }
    measured: dict[str, Any] = {
        "calibration": {language: {"source": "anchors", **asdict(one), "readable": one.readable} for language, one in fits.items()}
    }
    cost: dict[str, Any] = {}
    if samples.reviews is not None:
        outcomes, seconds = run(samples.reviews, dump, [sentiment], bench)
        truth = BY_RATING if what.label_column is None else f"labels: column {what.label_column}"
        measured["sentiment"] = {"truth": truth, **measure_sentiment(scored(outcomes, samples.reviews), what.seed)}
        measured["sentiment"]["answers"] = answers_of("sentiment", outcomes)
        cost["sentiment"] = cost_of(outcomes, seconds)
    if samples.splits:
        names = [name for name in make if name in what.tasks]
        outcomes, seconds = run(pl.concat([split.put_in for split in samples.splits]), dump, [make[name]() for name in names], bench)
        bench.progress.stage("comparing texts")
        measured |= measure_texts(names, samples.splits, outcomes, what)
        whole = cost_of(outcomes, seconds)
        each = {name: whole[name] / len(outcomes) for name in (*TOKENS, "seconds")}
        cost[", ".join(names)] = {**whole, "per_restaurant": each}
    return {**measured, "cost": cost}


def measure_texts(names: Sequence[str], splits: Sequence[Split], outcomes: Sequence[Outcome], what: Evaluation) -> dict[str, Any]:
    """Figures of the tasks named, and of what they were given."""
    by_id = {outcome.restaurant.restaurant_id: outcome for outcome in outcomes}
    pairs = [(split, by_id[split.restaurant_id]) for split in splits]
    rows = [(split, restaurant_row(outcome, names)) for split, outcome in pairs]
    makers: Mapping[str, Callable[[], dict[str, Any]]] = {
        "summary": lambda: measure_summaries(pairs, what.references, what.seed),
        "strengths": lambda: measure_strengths(rows, what.seed),
    }
    measured = {name: {**makers[name](), "failed": failures_of(name, outcomes), "answers": answers_of(name, outcomes)} for name in names}
    put_in = sum(split.put_in.height for split in splits)
    return {"texts": {"restaurants": len(pairs), "reviews_put_in": put_in, "left_out_percent": LEFT_OUT_PERCENT}, **measured}


def run(reviews: pl.DataFrame, dump: Dump, tasks: Sequence[Task], bench: Bench) -> tuple[list[Outcome], float]:
    """Outcomes of these rows of the dump, asked as `analyze` would ask them, and the seconds that took."""
    part = replace(dump.of_these(reviews), rejected=Spread("rejects", REVIEWS.reject_schema))
    budget = min(CHUNK_TOKENS, bench.engine.max_model_len - max(task.overhead for task in tasks))
    reads = together(task.reads for task in tasks)
    groups = group(part, sample_rates(part, bench.tokens), reads, MAX_REVIEWS)
    bench.progress.planned(groups.table.height, int(groups.table["prompt_tokens"].sum()))
    order = ORDERS["restaurant"]
    began = time.monotonic()
    loop = Loop(tasks, order, bench.engine, bench.progress)
    restaurants = tokenise(groups.hand_out(["estimate", "restaurant_id"]), bench.tokens, budget, MAX_REVIEWS)
    outcomes = list(loop.run(restaurants, bench.check))
    return outcomes, time.monotonic() - began


def cost_of(outcomes: Sequence[Outcome], seconds: float) -> dict[str, Any]:
    """Requests, tokens and seconds of one pass, calibration and loading not counted."""
    rows = [request_row(asked) for asked in _new(outcomes)]
    total = {name: sum(row[name] for row in rows) for name in TOKENS}
    return {
        "restaurants": len(outcomes),
        "requests": len(rows),
        **total,
        "cached_share": total["cached_tokens"] / total["prompt_tokens"] if rows else None,
        "seconds": round(seconds, 3),
        "requests_per_second": len(rows) / seconds,
    }


def failures_of(task: str, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """Reasons why restaurants have no result of a task, and how many have each."""
    return dict(Counter(outcome.errors[task] for outcome in outcomes if task in outcome.errors).most_common())


def answers_of(task: str, outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How a task's answers ended. `out_of_form`, `empty`: of those that came to an end."""
    asked = [one for one in _new(outcomes) if one.request.task == task]
    ended = [one for one in asked if one.answer.usable]
    return {
        "asked": len(asked),
        "failed": sum(one.answer.error is not None for one in asked),
        "cut_off": sum(one.answer.error is None and not one.answer.usable for one in asked),
        "out_of_form": sum(not in_form(one.request.sampling, one.answer) for one in ended),
        "empty": sum(not one.request.sampling.choices and not one.answer.text.strip() for one in ended),
    }


def _new(outcomes: Iterable[Outcome]) -> list[Asked]:
    return [asked for outcome in outcomes for asked in outcome.asked if not asked.reused]
