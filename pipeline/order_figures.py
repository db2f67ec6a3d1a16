"""What an order costs and gains, as figures of its timeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import polars as pl

from pipeline.records import Answer
from pipeline.service_levels import ServiceLevel, attained
from pipeline.timeline import Timeline

Figures = dict[str, Any]
SIZES = ("small", "middle", "large")
"""Thirds of the restaurants by their prefill tokens."""
NAMING = ("overtaken", "deadlines")
"""Figures that hold a restaurant's name, and belong to it."""
MOVED = 0.001
"""Log-probabilities by which an answer may differ between two batches of the same prompts and still be the same."""


def figures(timeline: Timeline, levels: Sequence[ServiceLevel] = ()) -> Figures:
    """Plain numbers, seconds from the first request on.

    `finished`: mean, median and 95th percentile of the time until a restaurant is complete, without its comparison, of those that were
    completed; `by_size`: the mean, by size of restaurant; `compared`: with the comparison, where it has one. `first_token`: median seconds
    from submission to the engine until the first token, by task and size of restaurant. `overtaken`: the restaurant that began most tokens
    later than first in, first out would have begun it. `service_levels` as in a manifest. `deadlines`: how many of the restaurants were
    complete in time and how many not, and those; None where there were none.
    """
    restaurants, requests = timeline.restaurants, timeline.requests
    asked = restaurants.filter(pl.col("started").is_not_null())
    done, reached = complete(timeline), asked.filter(pl.col("status") != "pending")
    tokens = {name: int(requests[f"{name}_tokens"].sum()) for name in ("prompt", "cached", "output")}
    return {
        "seconds": round(timeline.seconds, 3),
        "restaurants": asked.height,
        "requests": requests.height,
        "finished": _spread(done["finished_s"]),
        "by_size": _by_size(done, asked),
        "compared": _spread(reached.select(pl.max_horizontal("finished_s", "compared_s")).to_series()),
        "first_token": _first_tokens(requests, asked),
        "computed_tokens": tokens["prompt"] - tokens["cached"],
        "cached_share": round(tokens["cached"] / tokens["prompt"], 4) if tokens["prompt"] else None,
        "output_tokens": tokens["output"],
        "steps": timeline.steps,
        "overtaken": most_overtaken(asked),
        "service_levels": _levels(levels, timeline),
        "deadlines": _deadlines(timeline),
    }


def complete(timeline: Timeline) -> pl.DataFrame:
    """Restaurants that were asked about and have all answers of their own; a run that ended early leaves others pending."""
    there = pl.col("started").is_not_null() & pl.col("finished_s").is_not_null()
    return timeline.restaurants.filter(there & (pl.col("status") != "pending"))


def _by_size(done: pl.DataFrame, restaurants: pl.DataFrame) -> dict[str, float | None]:
    found = dict(done.join(sizes(restaurants), on="arrival").group_by("size").agg(pl.col("finished_s").mean()).iter_rows())
    return {size: round(found[size], 3) if size in found else None for size in SIZES}


def _spread(seconds: pl.Series) -> dict[str, float | None]:
    seconds = seconds.drop_nulls()
    if seconds.is_empty():
        return {"mean": None, "median": None, "p95": None}
    found = seconds.to_frame("s").select(mean=pl.col("s").mean(), median=pl.col("s").median(), p95=pl.col("s").quantile(0.95, "linear"))
    return {name: round(value, 3) for name, value in found.row(0, named=True).items()}


def sizes(restaurants: pl.DataFrame) -> pl.DataFrame:
    """`arrival` and `size` of each restaurant, by thirds of their number; equal costs go by arrival."""
    place = pl.col("cost").rank("ordinal") - 1
    ranked = restaurants.sort("cost", "arrival").with_columns(third=(place * len(SIZES)) // pl.len())
    return ranked.select("arrival", size=pl.col("third").cast(pl.Int64).replace_strict(dict(enumerate(SIZES)), return_dtype=pl.String))


def _first_tokens(requests: pl.DataFrame, restaurants: pl.DataFrame) -> dict[str, dict[str, float | None]]:
    rows = requests.join(sizes(restaurants), on="arrival").group_by("task", "size").agg(pl.col("first_token_s").median())
    found: dict[str, dict[str, float | None]] = {}
    for task, size, seconds in rows.sort("task", "size").iter_rows():
        found.setdefault(task, {})[size] = None if seconds is None else round(seconds, 3)
    return {task: {size: by.get(size) for size in SIZES} for task, by in found.items()}


def most_overtaken(restaurants: pl.DataFrame) -> dict[str, Any] | None:
    """The restaurant that began the most prefill tokens later than in the order of arrival, and how many. A restaurant's tokens count as
    begun with its first request; None where nobody was overtaken."""
    before = {
        by: restaurants.sort(by, "arrival").select("restaurant_id", (pl.col("cost").cum_sum() - pl.col("cost")).alias(by))
        for by in ("started", "arrival")
    }
    later = before["started"].join(before["arrival"], on="restaurant_id").with_columns(tokens=pl.col("started") - pl.col("arrival"))
    found = later.filter(pl.col("tokens") > 0).sort("tokens", "restaurant_id", descending=[True, False])
    return {"restaurant_id": found["restaurant_id"][0], "tokens": int(found["tokens"][0])} if found.height else None


def _levels(levels: Sequence[ServiceLevel], timeline: Timeline) -> list[dict[str, Any]]:
    if not levels:
        return []
    requests = timeline.requests.join(timeline.restaurants.select("arrival", "restaurant_id"), on="arrival")
    requests = requests.with_columns(position=pl.lit(0), reused=pl.lit(False))
    only_compared = pl.col("finished_s").is_null() & pl.col("status").is_in(["ok", "partial"])
    return attained(levels, [(requests, timeline.restaurants.with_columns(reused=only_compared))])


def _deadlines(timeline: Timeline) -> dict[str, Any] | None:
    due = pl.DataFrame(
        {"restaurant_id": list(timeline.due_s), "due_s": list(timeline.due_s.values())},
        schema={"restaurant_id": pl.String(), "due_s": pl.Float64()},
    )
    given = timeline.restaurants.join(due, on="restaurant_id")
    met = pl.col("status").is_in(["ok", "partial"]) & (pl.col("finished_s") <= pl.col("due_s")).fill_null(True)
    missed = given.filter(~met)["restaurant_id"].sort().to_list()
    return {"met": given.height - len(missed), "missed": len(missed), "missed_by": missed} if given.height else None


def middle(runs: Sequence[Figures]) -> Figures:
    """Of several runs of one setting: each number's median, and of everything else, and what names restaurants, that of the run with the
    median total time."""
    total = sorted(runs, key=lambda one: one["seconds"])[(len(runs) - 1) // 2]
    return {name: value if name in NAMING else _middle([run[name] for run in runs], value) for name, value in total.items()}


def _middle(values: Sequence[Any], chosen: Any) -> Any:
    if isinstance(chosen, dict) and all(isinstance(value, dict) and value.keys() == chosen.keys() for value in values):
        return {name: _middle([value[name] for value in values], one) for name, one in chosen.items()}
    if all(isinstance(value, (int, float)) for value in values):
        found = median(values)
        return int(found) if isinstance(chosen, int) else round(found, 4)
    return chosen


def differing(answers: Mapping[str, Answer], others: Mapping[str, Answer]) -> dict[str, int]:
    """Answers to the same questions that say something else; log-probabilities count from MOVED on. Questions that only one of two runs
    asked are `elsewhere`: later questions hold what the model said before."""
    both = answers.keys() & others.keys()
    changed = sum(_differ(answers[key], others[key]) for key in both)
    return {"compared": len(both), "changed": changed, "elsewhere": len(answers.keys() ^ others.keys())}


def _differ(one: Answer, other: Answer) -> bool:
    if (one.text if not one.logprobs else "", one.error) != (other.text if not other.logprobs else "", other.error):
        return True
    return any(abs(value - other.logprobs.get(token, float("inf"))) > MOVED for token, value in one.logprobs.items())
