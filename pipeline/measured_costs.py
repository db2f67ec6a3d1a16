"""What the requests of a run took, by task and stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import polars as pl

from pipeline.costs import CostModel

SECONDS = ("queue_s", "prefill_s", "decode_s", "first_token_s")
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")


Rows = TypeVar("Rows", pl.DataFrame, pl.LazyFrame)
Requests = pl.DataFrame | pl.LazyFrame
"""Rows of `requests.parquet`, in memory or in files."""


def asked_of_engine(requests: Rows) -> Rows:
    """Those that an engine was given in this run."""
    return requests.filter(~pl.col("reused") & pl.col("position").is_not_null())


def totals(requests: Requests) -> dict[str, int]:
    """How many `requests`, how many of them `reused`, and their tokens by kind."""
    counted = requests.lazy().select(pl.len().alias("requests"), pl.col("reused", *TOKENS).sum()).collect(engine="streaming")
    return {name: int(value or 0) for name, value in counted.row(0, named=True).items()}


def answer_tokens(asked: Requests) -> dict[tuple[str, str], float]:
    """Mean output tokens of an answer that ended by itself or was cut off, by task and stage. `asked`: of an engine; task, stage, status,
    output_tokens."""
    came = asked.lazy().filter(pl.col("status") != "failed").group_by("task", "stage").agg(pl.col("output_tokens").mean())
    return {(task, stage): mean for task, stage, mean in came.collect(engine="streaming").iter_rows()}


def by_task(requests: Requests, seconds: float | None, rates: CostModel) -> list[dict[str, Any]]:
    """A row per task (`stage` is null) and per stage of it: requests, tokens, of each kind of seconds in `requests.parquet` the mean and
    the percentiles p50, p95, p99 (linear between neighbours), and what it took of the engine.

    `engine_s`: of the `seconds` in which the engine had work, the share of this row's tokens, each uncached prompt token and each output
    token weighed by `rates`. Steps serve many requests at once, so this is a division by a model, not a measurement; its sum over the
    tasks is the measured time. `ms_per_token`: engine_s over uncached prompt tokens and output tokens. Both are null where the engine wrote
    no steps down.
    """
    asked = asked_of_engine(requests.lazy())
    rows = _by(asked, pl.len().alias("requests"), *(pl.col(name).sum() for name in TOKENS))
    rows = rows.hstack(_spread(asked, rows.select("task", "stage").rows()))
    weight = (pl.col("prompt_tokens") - pl.col("cached_tokens")) * rates.prefill_s + pl.col("output_tokens") * rates.decode_s
    all_weights = pl.col("weight").filter(pl.col("stage").is_null()).sum()
    computed = pl.col("prompt_tokens") - pl.col("cached_tokens") + pl.col("output_tokens")
    rows = rows.with_columns(weight.alias("weight"))
    rows = rows.with_columns((pl.col("weight") / all_weights * pl.lit(seconds, pl.Float64)).alias("engine_s")).drop("weight")
    rows = rows.with_columns((pl.col("engine_s") / computed * 1000).alias("ms_per_token"))
    return [_row(row) for row in rows.fill_nan(None).iter_rows(named=True)]


def _by(asked: pl.LazyFrame, *figures: pl.Expr) -> pl.DataFrame:
    """Of each stage, and of each task with no stage, by name, the task first."""
    stages = asked.group_by("task", "stage").agg(*figures)
    tasks = asked.group_by("task").agg(pl.lit(None, pl.String).alias("stage"), *figures)
    return pl.concat([tasks, stages]).collect(engine="streaming").sort("task", "stage", nulls_last=False)


def _spread(asked: pl.LazyFrame, stages: Sequence[tuple[str, str | None]]) -> pl.DataFrame:
    """Mean and percentiles of each kind of seconds, a row per stage, of a whole task where that is None. One after another: a percentile
    takes all its values, and together those of ten million requests would take gigabytes."""
    of = [pl.col(name).mean().alias(f"{name} mean") for name in SECONDS]
    of += [pl.col(name).quantile(q, "linear").alias(f"{name} {label}") for name in SECONDS for label, q in QUANTILES.items()]
    found = [asked.head(0).select(of).collect().clear()]
    for task, stage in stages:
        one = asked.filter(task=task) if stage is None else asked.filter(task=task, stage=stage)
        found.append(one.select(of).collect(engine="streaming"))
    return pl.concat(found)


def _row(row: dict[str, Any]) -> dict[str, Any]:
    """Figures of one kind of seconds under one name; to the microsecond."""
    plain = {name: _rounded(value) for name, value in row.items() if " " not in name}
    return plain | {name: {label: _rounded(row[f"{name} {label}"]) for label in ("mean", *QUANTILES)} for name in SECONDS}


def _rounded(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) else value
