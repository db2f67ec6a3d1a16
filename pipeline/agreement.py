"""The labels of a run held against the ratings of its dump: a check that costs nothing, where guests gave stars."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from pipeline.rated import positive

LEAST_AGREEMENT = 0.8
"""Balanced agreement below which a run warns; 0.5 is a coin."""
FALL = 0.05
"""Balanced agreement lost since the run before from which on a run warns, too."""
LEAST_RATED = 20
"""Reviews rated above, and below, 3 stars without which a run's agreement is chance and no reason to warn."""
LEAST_OF_RESTAURANT = 5
"""Rated and labelled reviews of a restaurant that is counted as low or not."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Over labelled reviews with a rating other than 3; neutral agrees with neither side.

    `agreement`: share whose label is their rating's; `balanced`: the mean of that share among those rated above 3 and below, None where
    there are none on one side. `low_restaurants`: restaurants of LEAST_OF_RESTAURANT such reviews or more whose share is below
    LEAST_AGREEMENT. `three_stars`: labels of the reviews rated 3, which are no check and show what neutral is worth. `warning`: what a
    person should be told.
    """

    reviews: int
    agreement: float
    balanced: float | None
    restaurants: int
    low_restaurants: int
    three_stars: Mapping[str, int]
    warning: str | None


class Held:
    """Labels held against ratings, range after range; then `told`."""

    def __init__(self) -> None:
        self._right: Counter[bool] = Counter()
        self._number: Counter[bool] = Counter()
        self._places = self._low = 0
        self._three = Counter(dict.fromkeys(("positive", "neutral", "negative"), 0))

    def add(self, dump: pl.DataFrame, labelled: pl.DataFrame) -> Held:
        """`dump`: restaurant_id, review_id, rating; `labelled`: restaurant_id, review_id, sentiment; all that there is of each restaurant.
        Reviews that are only in one of them, or have no label, count for nothing. Returns itself."""
        ids = ["restaurant_id", "review_id"]
        pairs = dump.select(*ids, "rating").join(labelled.select(*ids, "sentiment").drop_nulls(), on=ids).drop_nulls("rating")
        wanted = pl.when("positive").then(pl.lit("positive")).otherwise(pl.lit("negative"))
        checked = pairs.with_columns(positive=positive()).drop_nulls("positive").with_columns(right=pl.col("sentiment") == wanted)
        for side, number, right in checked.group_by("positive").agg(pl.len(), pl.col("right").sum()).iter_rows():
            self._number[side] += number
            self._right[side] += right
        places = checked.group_by("restaurant_id").agg(pl.len(), share=pl.col("right").mean()).filter(pl.col("len") >= LEAST_OF_RESTAURANT)
        self._places += places.height
        self._low += places.filter(pl.col("share") < LEAST_AGREEMENT).height
        self._three.update(dict(pairs.filter(rating=3)["sentiment"].value_counts().iter_rows()))
        return self

    def told(self, before: float | None = None) -> Agreement | None:
        """`before`: `balanced` of the run before. None without a rated and labelled review."""
        number = self._number.total()
        if not number:
            return None
        both = len(self._number) == 2
        balanced = sum(self._right[side] / self._number[side] for side in self._number) / 2 if both else None
        warning = None
        if balanced is not None and min(self._number.values()) >= LEAST_RATED:
            agrees = f"sentiment agrees with the ratings in {balanced:.0%} of {number:,} reviews (both sides weighed alike"
            if balanced < LEAST_AGREEMENT:
                warning = (
                    f"{agrees}; below {LEAST_AGREEMENT:.0%}), and in {self._low:,} of {self._places:,} restaurants less often than that; "
                    "see rating_agreement, try --calibrate-on ratings or another --model"
                )
            elif before is not None and before - balanced >= FALL:
                warning = f"{agrees}), in the run before in {before:.0%}; see rating_agreement for the restaurants"
        return Agreement(number, self._right.total() / number, balanced, self._places, self._low, dict(self._three), warning)


def agreement(dump: pl.DataFrame, labelled: pl.DataFrame, before: float | None = None) -> Agreement | None:
    """All at once."""
    return Held().add(dump, labelled).told(before)
