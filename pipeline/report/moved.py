"""Which restaurants are different in one run than in another, and whether their reviews are.

Both runs are read by the same ranges of restaurants, so that neither is ever whole in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path

import polars as pl

from pipeline.analysis import Committed
from pipeline.report.between import same_questions
from pipeline.report.opened import rows_of
from pipeline.spread import Ranges
from pipeline.tables import parted

ROWS_TOGETHER = 1 << 18
"""Reviews of a range, about."""
SAME_SCORE = 0.001
"""Scores that are no further apart are equal, and so are labels of reviews that are as close to the boundary."""
PARTS: Mapping[str, tuple[str, ...]] = {
    "status": ("status", "error"),
    "summary": ("summary", "summary_kind", "summary_support", "summary_sentences"),
    "strengths": ("strengths", "dropped_claims"),
    "comparison": ("comparison_summary", "target_restaurant_strength", "strengths_kind", "peers"),
}
"""Columns of `restaurants.parquet` that are answers, by what they are part of; labels and scores are compared review by review."""
OF_REVIEWS = ("restaurant_name", "review_count", "rejected_count", "mean_rating")
"""Columns that reviews alone decide."""
KINDS = ("answers", "reviews", "new", "gone", "same")
ID = "restaurant_id"


@dataclass(frozen=True, slots=True)
class Moved:
    """A restaurant. `kind`: `answers` (its reviews are the same, what is said of them is not), `reviews`, `new`, `gone` or `same`.

    `added` and `removed`: reviews; `flipped`: labels of reviews that both runs have; `scores`: scores of those that moved. `parts`: those
    of PARTS that are different. `peers_only`: its own rows and settings are the same, and the figures of its peers are not.
    """

    restaurant_id: str
    kind: str
    added: int = 0
    removed: int = 0
    flipped: int = 0
    scores: int = 0
    parts: tuple[str, ...] = ()
    peers_only: bool = False

    @property
    def weight(self) -> tuple[int, int, int, str]:
        """By which the most moved ones are found."""
        return self.flipped, len(self.parts), self.added + self.removed, self.restaurant_id


@dataclass(frozen=True, slots=True)
class Compared:
    """How many restaurants are of each kind, and those of a kind that moved most. `added`, `removed`, `flipped`: reviews over all."""

    number: Counter[str] = field(default_factory=Counter)
    most: dict[str, list[Moved]] = field(default_factory=dict)
    reviews: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)


def compare(old: Committed, new: Committed, most: int) -> Compared:
    """`most`: of a kind that are kept."""
    found = Compared(most={kind: [] for kind in KINDS if kind != "same"})
    told = same_questions(old.manifest, new.manifest)
    for of_range in _ranges(old, new):
        rows = list(_moved(old, new, of_range, told))
        found.number.update(one.kind for one in rows)
        found.parts.update(part for one in rows if one.kind == "answers" for part in (*one.parts, *(["labels"] if one.flipped else [])))
        for one in rows:
            found.reviews.update(added=one.added, removed=one.removed, flipped=one.flipped)
        for kind, kept in found.most.items():
            found.most[kind] = nlargest(most, [*kept, *(one for one in rows if one.kind == kind)], key=lambda one: one.weight)
    return found


def _ranges(old: Committed, new: Committed) -> Iterator[pl.Expr]:
    """Conditions on `restaurant_id`, about ROWS_TOGETHER reviews of each run in each."""
    sizes = pl.concat([rows_of(run, "restaurants").select(ID, "review_count") for run in (old, new)])
    by_name = (
        sizes.group_by(ID).agg(pl.col("review_count").max()).sort(ID).select(ID, part=pl.col("review_count").cum_sum() // ROWS_TOGETHER)
    )
    cuts = by_name.group_by("part").agg(pl.col(ID).min()).sort("part").collect(engine="streaming")[ID].to_list()[1:]
    ranges = Ranges(tuple(cuts), Path())  # nothing is set aside there
    return (ranges.of(number) for number in range(len(ranges)))


def _moved(old: Committed, new: Committed, of_range: pl.Expr, told: bool) -> Iterator[Moved]:
    """`told`: fingerprints tell of reviews."""
    places = _places(old, of_range).join(_places(new, of_range), on=ID, how="full", suffix="_new", coalesce=True)
    labels = _labels(old, new, of_range)
    none = {"added": 0, "removed": 0, "flipped": 0, "scores": 0}
    for row in places.sort(ID).iter_rows(named=True):
        name = row[ID]
        if row["there"] is None or row["there_new"] is None:
            yield Moved(name, "new" if row["there"] is None else "gone")
            continue
        counts = labels.get(name, none)
        same_rows = row["reviews"] == row["reviews_new"] and not (counts["added"] or counts["removed"])
        own, own_new = (parted(row[side])[0] for side in ("fingerprint", "fingerprint_new"))
        if told and own and own_new:
            same_rows = same_rows and own == own_new
        parts = tuple(part for part in PARTS if row[part] != row[f"{part}_new"])
        other = bool(parts or counts["flipped"] or counts["scores"])
        kind = "reviews" if not same_rows else "answers" if other else "same"
        peers_only = kind == "answers" and own is not None and own == own_new and row["fingerprint"] != row["fingerprint_new"]
        yield Moved(name, kind, **counts, parts=parts, peers_only=peers_only)


def _places(run: Committed, of_range: pl.Expr) -> pl.DataFrame:
    """Of each restaurant what is compared, each group of columns as one number of 64 bits."""
    groups = {**PARTS, "reviews": OF_REVIEWS}
    marks = {part: pl.struct(columns).struct.json_encode().hash() for part, columns in groups.items()}
    rows = rows_of(run, "restaurants").filter(of_range)
    return rows.select(ID, "fingerprint", there=pl.lit(True), **marks).collect(engine="streaming")


def _labels(old: Committed, new: Committed, of_range: pl.Expr) -> dict[str, dict[str, int]]:
    """By restaurant, of those with any difference."""
    sides = [
        rows_of(run, "reviews").filter(of_range).select(ID, "review_id", "sentiment", "score", there=pl.lit(True)) for run in (old, new)
    ]
    pairs = sides[0].join(sides[1], on=[ID, "review_id"], how="full", suffix="_new", coalesce=True)
    both = pl.col("there").is_not_null() & pl.col("there_new").is_not_null()
    near = (pl.col("score").abs() <= SAME_SCORE) & (pl.col("score_new").abs() <= SAME_SCORE)
    moved = ((pl.col("score") - pl.col("score_new")).abs() > SAME_SCORE).fill_null(False)
    flipped = both & pl.col("sentiment").ne_missing(pl.col("sentiment_new")) & ~near.fill_null(False)
    sums = pairs.group_by(ID).agg(
        added=pl.col("there").is_null().sum(),
        removed=pl.col("there_new").is_null().sum(),
        flipped=flipped.sum(),
        scores=(both & moved).sum(),
    )
    rows = sums.filter(pl.any_horizontal(pl.col("added", "removed", "flipped", "scores") > 0)).collect(engine="streaming")
    return {name: {"added": a, "removed": r, "flipped": f, "scores": s} for name, a, r, f, s in rows.iter_rows()}


def rows_by_id(run: Committed, some: Sequence[Moved]) -> dict[str, dict[str, object]]:
    """Full rows of these restaurants, those that the run has."""
    wanted = rows_of(run, "restaurants").filter(pl.col(ID).is_in([one.restaurant_id for one in some]))
    return {row[ID]: row for row in wanted.collect(engine="streaming").rows(named=True)}
