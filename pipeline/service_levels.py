"""Service levels: how many requests and restaurants came within a promised time, and how much of that a second.

Goodput is the throughput that counts only what met its service level (DistServe: Zhong et al. 2024, OSDI, there the highest rate of
requests at which a given share meets it; here a run's rate is what it is, and what met it is counted).

`ttft`: a request meets it whose first output token was here within so many seconds of its submission to the engine (`first_token_s` of
`requests.parquet`). What a request waits before that, for its place in the order, is not in it: all of a dump is there at the start, and
the restaurant is what somebody waits for. `restaurant`: a restaurant meets it whose last answer of its own, the comparison with its peers
left out, was here within so many seconds of the run's first submission (`finished_s` of `restaurants.parquet`).

Failed and cut-off requests and failed and pending restaurants count as missed, those included that the run ended too early to ask about.
Reused answers and carried-over restaurants count neither way: the engine did nothing for them, and a rate that grew with the store would
say nothing of the engine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from pipeline.measured_costs import asked_of_engine
from pipeline.records import COMPARISON_STAGES
from pipeline.tables import own_status


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """At most so many `seconds`. `task`: of `ttft`, for this task's requests alone."""

    of: Literal["ttft", "restaurant"]
    seconds: float
    task: str | None = None

    @property
    def name(self) -> str:
        """As it is given: ttft.sentiment."""
        return f"{self.of}.{self.task}" if self.task else self.of


def attained(levels: Sequence[ServiceLevel], parts: Iterable[tuple[pl.DataFrame, pl.DataFrame]]) -> list[dict[str, Any]]:
    """A row per level. `parts`: requests and restaurants, columns of a run's tables, rows of this run (those of earlier ones are passed
    over); all that concerns one restaurant stands in one part.

    `met` of `number`, `attainment` their quotient (null where there is none). `tasks`: the same by task, of ttft its requests,
    of restaurant the restaurants that it was asked about, met where the last answer of that task was in time. `goodput` per second from
    the first submission to the last answer: `requests` that met it, or belong to a restaurant that did; their `tokens`, prompt (those from
    the cache too) and output; `restaurants` that met it, or all of whose requests did.
    """
    found = {level: _Count() for level in levels}
    seconds = 0.0
    for requests, restaurants in parts if levels else ():
        asked = asked_of_engine(requests)
        if "error" in restaurants.columns:  # of a run's own table; a timeline has looked already
            restaurants = restaurants.with_columns(own_status())
        last = asked["finished_s"].max()
        seconds = max(seconds, float(last) if isinstance(last, (int, float)) else 0.0)
        for level, count in found.items():
            _count(count, level, asked, restaurants)
    return [count.row(level, seconds) for level, count in found.items()]


@dataclass
class _Count:
    """What met a level; by task (met, number); what was produced by what met it."""

    met: int = 0
    number: int = 0
    tasks: dict[str, tuple[int, int]] = field(default_factory=dict)
    produced: Counter[str] = field(default_factory=Counter)

    def row(self, level: ServiceLevel, seconds: float) -> dict[str, Any]:
        rows = sorted(self.tasks.items())
        return {
            "level": level.name,
            "seconds": level.seconds,
            "met": self.met,
            "number": self.number,
            "attainment": self.met / self.number if self.number else None,
            "tasks": {task: {"met": met, "number": number, "attainment": met / number} for task, (met, number) in rows},
            "goodput": {
                name: round(self.produced[name] / seconds, 6) if seconds else None for name in ("restaurants", "requests", "tokens")
            },
        }


def _count(count: _Count, level: ServiceLevel, asked: pl.DataFrame, restaurants: pl.DataFrame) -> None:
    concerned = asked.filter(pl.col("task") == level.task) if level.task else asked
    asked_about = pl.col("restaurant_id").is_in(concerned["restaurant_id"].unique().implode())
    if level.of == "ttft":
        in_time = (pl.col("status") == "ok") & (pl.col("first_token_s") <= level.seconds)
        rated = concerned.with_columns(in_time.fill_null(False).alias("met"))
        places = restaurants.filter(asked_about, ~pl.col("reused"))
        late = rated.filter(~pl.col("met"))["restaurant_id"].unique()
        places = places.with_columns(met=~pl.col("restaurant_id").is_in(late.implode()))
        counted = by_task = rated
    else:
        places = restaurants.filter(asked_about | (pl.col("status") == "pending"), ~pl.col("reused"))
        in_time = pl.col("status").is_in(["ok", "partial"]) & (pl.col("finished_s") <= level.seconds)
        counted = places = places.with_columns(in_time.fill_null(False).alias("met"))
        on_time = places.filter("met")["restaurant_id"]
        rated = concerned.with_columns(met=pl.col("restaurant_id").is_in(on_time.implode()))
        own = concerned.filter(pl.col("restaurant_id").is_in(places["restaurant_id"].implode()))
        own = own.filter(~pl.col("stage").is_in(COMPARISON_STAGES).fill_null(False))
        last = own.group_by("restaurant_id", "task").agg(pl.col("finished_s").max(), ok=(pl.col("status") != "failed").all())
        left = pl.col("restaurant_id").is_in(places.filter(pl.col("status") == "pending")["restaurant_id"].implode())
        by_task = last.with_columns(met=~left & pl.col("ok") & (pl.col("finished_s") <= level.seconds))
    good = rated.filter("met")
    count.met += int(counted["met"].sum())
    count.number += counted.height
    for task, met, number in by_task.group_by("task").agg(pl.col("met").sum(), pl.len()).iter_rows():
        before = count.tasks.get(task, (0, 0))
        count.tasks[task] = (before[0] + met, before[1] + number)
    tokens = sum(int(good[name].sum()) for name in ("prompt_tokens", "output_tokens"))
    count.produced.update(restaurants=int(places["met"].sum()), requests=good.height, tokens=tokens)
