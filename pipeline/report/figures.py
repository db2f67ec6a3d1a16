"""Figures over all restaurants of a run, however many: every one is computed by Polars in a stream, and only sums are held."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from pipeline.analysis import Committed
from pipeline.report.notable import LABELLED
from pipeline.report.opened import rows_of

FEW = 5
"""Labelled reviews below which a restaurant's share of positive ones is mostly chance."""
BINS = 10
"""Of a share between 0 and 1."""
STARS, SHARE = 0.1, 0.05
"""Width and height of what counts as one place where ratings and shares are held against each other."""
MOST_POINTS = 200
"""Of a line."""
MOST_REASONS = 12
"""Of a list; the others are added up."""

Counts = Sequence[tuple[str, int]]
"""Names, each with how many there are, most first."""


@dataclass(frozen=True, slots=True)
class Figures:
    """`shares`: restaurants by share of positive reviews (lower end of its bin), and whether they have fewer than FEW labelled ones.
    `rated`: restaurants by mean rating and share, both rounded. `completed` and `compared`: seconds since the first request, and how many
    restaurants had all answers of their own by then, or their comparison. `errors`: reasons of tasks without a result, with the number of
    restaurants."""

    shares: Sequence[tuple[float, bool, int]]
    rated: Sequence[tuple[float, float, int]]
    completed: Sequence[tuple[float, int]]
    compared: Sequence[tuple[float, int]]
    errors: Counts
    rejects: Counts
    flags: Counts
    dropped_claims: int
    truncated: int


def figures(run: Committed) -> Figures:
    """Of a committed run."""
    places, reviews = rows_of(run, "restaurants"), rows_of(run, "reviews")
    labelled = places.filter(pl.col("positive_ratio").is_not_null()).with_columns(few=LABELLED < FEW)
    shares = labelled.group_by("few", bin=_bin(pl.col("positive_ratio"))).len().sort("bin", "few")
    at = (pl.col("mean_rating") / STARS).round().alias("at"), (pl.col("positive_ratio") / SHARE).round().alias("share")
    rated = labelled.filter(~pl.col("few")).drop_nulls("mean_rating").group_by(*at).len().sort("at", "share")
    sums = places.select(pl.col("dropped_claims", "truncated_count").sum()).collect(engine="streaming").row(0)
    return Figures(
        [(low / BINS, few, number) for low, few, number in shares.select("bin", "few", "len").collect(engine="streaming").iter_rows()],
        [(at * STARS, share * SHARE, number) for at, share, number in rated.collect(engine="streaming").iter_rows()],
        _over_time(places, "finished_s"),
        _over_time(places.filter(pl.col("strengths_kind").is_not_null()), "compared_s"),
        _most(_reasons(places)),
        _most(run.scan("rejects").select(name="reason")),
        _most(reviews.select(name="flags").explode("name").drop_nulls()),
        *(int(number or 0) for number in sums),
    )


def _bin(share: pl.Expr) -> pl.Expr:
    """Its number; a share of 1 belongs to the last one."""
    return (share * BINS).floor().clip(0, BINS - 1)


def _reasons(places: pl.LazyFrame) -> pl.LazyFrame:
    """Of each restaurant's `error`, task by task: reasons may hold semicolons of their own."""
    parted = pl.col("error").str.replace_all(r"; (sentiment|summary|strengths|comparison): ", "\x1e$1: ").str.split("\x1e")
    return places.drop_nulls("error").select(name=parted).explode("name")


def _most(named: pl.LazyFrame) -> Counts:
    counts = named.group_by("name").len().sort("len", "name", descending=[True, False]).collect(engine="streaming")
    rows = [(str(name), int(number)) for name, number in counts.head(MOST_REASONS).iter_rows()]
    left = int(counts["len"][MOST_REASONS:].sum())
    return [*rows, (f"{counts.height - MOST_REASONS:,} others", left)] if left else rows


def _over_time(places: pl.LazyFrame, column: str) -> Sequence[tuple[float, int]]:
    """Of rows of this run, at most MOST_POINTS points of the line, its ends among them."""
    own = places.filter(~pl.col("reused"), pl.col("status").is_in(["ok", "partial"])).select(column).drop_nulls()
    seconds = own.collect(engine="streaming")[column].sort()
    step = max(-(-len(seconds) // MOST_POINTS), 1)
    at = sorted({*range(step - 1, len(seconds), step), len(seconds) - 1} if len(seconds) else ())
    return [(float(seconds[place]), place + 1) for place in at]
