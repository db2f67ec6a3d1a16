"""The labels of a run held against the ratings of its dump: a check that costs nothing, where guests gave stars."""

from __future__ import annotations

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


def agreement(dump: pl.DataFrame, labelled: pl.DataFrame, before: float | None = None) -> Agreement | None:
    """`dump`: restaurant_id, review_id, rating; `labelled`: restaurant_id, review_id, sentiment; `before`: `balanced` of the run before.
    None without a rated and labelled review.

    Reviews that are only in one of them, or have no label, count for nothing.
    """
    ids = ["restaurant_id", "review_id"]
    pairs = dump.select(*ids, "rating").join(labelled.select(*ids, "sentiment").drop_nulls(), on=ids).drop_nulls("rating")
    checked = pairs.with_columns(positive=positive()).drop_nulls("positive")
    if checked.is_empty():
        return None
    wanted = pl.when("positive").then(pl.lit("positive")).otherwise(pl.lit("negative"))
    checked = checked.with_columns(right=pl.col("sentiment") == wanted)
    sides = checked.group_by("positive").agg(pl.len(), share=pl.col("right").mean()).sort("positive")
    both = sides.height == 2
    balanced = float(sides["share"].sum()) / 2 if both else None
    places = checked.group_by("restaurant_id").agg(pl.len(), share=pl.col("right").mean()).filter(pl.col("len") >= LEAST_OF_RESTAURANT)
    low = places.filter(pl.col("share") < LEAST_AGREEMENT).height
    warning = None
    if balanced is not None and balanced < LEAST_AGREEMENT and min(sides["len"]) >= LEAST_RATED:
        warning = (
            f"sentiment agrees with the ratings in {balanced:.0%} of {checked.height:,} reviews (both sides weighed alike; below "
            f"{LEAST_AGREEMENT:.0%}), and in {low:,} of {places.height:,} restaurants less often than that; see rating_agreement, "
            "try --calibrate-on ratings or another --model"
        )
    elif balanced is not None and before is not None and before - balanced >= FALL and min(sides["len"]) >= LEAST_RATED:
        warning = (
            f"sentiment agrees with the ratings in {balanced:.0%} of {checked.height:,} reviews (both sides weighed alike), in the run "
            f"before in {before:.0%}; see rating_agreement for the restaurants"
        )
    counted = pairs.filter(rating=3)["sentiment"].value_counts()
    three = dict.fromkeys(("positive", "neutral", "negative"), 0) | dict(counted.iter_rows())
    share = int(checked["right"].sum()) / checked.height
    return Agreement(checked.height, share, balanced, places.height, low, three, warning)
