"""Which restaurants a page shows where there are too many: those that somebody would look for, by reasons that the page names.

Every reason has places of its own, so that ten thousand failed restaurants leave room for the largest and the best. Each is asked of the
table for itself, and only its first ones are ever in memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.agreement import LEAST_AGREEMENT
from pipeline.analysis import Committed
from pipeline.report.opened import rows_of

MOST_SHOWN = 500
"""Restaurants on a page. With all that they open to they take about 4 MB, which a phone still scrolls."""
SURE = 10
"""Labelled reviews from which on a share of positive ones says something."""

LABELLED = pl.sum_horizontal("positive_count", "neutral_count", "negative_count")
NAME = "restaurant_id"


@dataclass(frozen=True, slots=True)
class Reason:
    """`said`: on the page. `holds` of a row; those of which it holds come in the order of `by`, largest first. `share` of the places.
    `problem`: worth a look wherever it holds, also where all restaurants are shown."""

    said: str
    holds: pl.Expr
    by: pl.Expr
    share: float
    problem: bool = False


DISAGREES = (pl.col("rating_agreement") < LEAST_AGREEMENT) & (LABELLED >= SURE)
REASONS = (
    Reason("failed", pl.col("status") == "failed", pl.col("review_count"), 0.12, problem=True),
    Reason("pending", pl.col("status") == "pending", pl.col("review_count"), 0.08, problem=True),
    Reason("partial", pl.col("status") == "partial", pl.col("review_count"), 0.08, problem=True),
    Reason("deadline missed", pl.col("deadline_met").not_(), pl.col("review_count"), 0.08, problem=True),
    Reason("labels disagree with ratings", DISAGREES, (1 - pl.col("rating_agreement")) * LABELLED, 0.10, problem=True),
    Reason("least positive", LABELLED >= SURE, -pl.col("positive_ratio"), 0.12),
    Reason("most positive", LABELLED >= SURE, pl.col("positive_ratio"), 0.10),
    Reason("most rejected rows", pl.col("rejected_count") > 0, pl.col("rejected_count"), 0.04),
)
LARGEST = "most reviews"
"""The reason of those that take the places left over."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """`reasons` by restaurant, none where all are shown; `told`: of each reason how many are shown for it, and how many it holds of."""

    total: int
    reasons: Mapping[str, tuple[str, ...]]
    told: Mapping[str, tuple[int, int]]

    @property
    def cut(self) -> bool:
        return len(self.reasons) < self.total


def choose(run: Committed, most: int = MOST_SHOWN) -> Chosen:
    """At most so many. Of equals the first by id."""
    rows = rows_of(run, "restaurants")
    total = int(rows.select(pl.len()).collect(engine="streaming").item())
    if total <= most:
        names = rows.select(NAME).collect(engine="streaming")[NAME]
        return Chosen(total, dict.fromkeys(names, ()), {})
    found: dict[str, tuple[str, ...]] = {}
    told = {}
    for reason in REASONS:
        some = rows.filter(reason.holds.fill_null(False))
        first = _first(some, reason.by, int(reason.share * most))
        found |= {name: (*found.get(name, ()), reason.said) for name in first}
        told[reason.said] = (len(first), int(some.select(pl.len()).collect(engine="streaming").item()))
    left = most - len(found)
    largest = [name for name in _first(rows, pl.col("review_count"), most) if name not in found][:left]
    told[LARGEST] = (len(largest), total)
    return Chosen(total, found | dict.fromkeys(largest, (LARGEST,)), {said: one for said, one in told.items() if one[0]})


def _first(rows: pl.LazyFrame, by: pl.Expr, most: int) -> list[str]:
    """Names, the largest first; nothing but so many of them is held."""
    keys = rows.select(NAME, by=by.cast(pl.Float64)).drop_nulls("by")
    found = keys.top_k(most, by=["by", NAME], reverse=[False, True]).collect(engine="streaming")
    return found.sort("by", NAME, descending=[True, False])[NAME].to_list()
