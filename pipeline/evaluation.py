"""How well a model labels sentiment, measured against a dump's ratings, which neither model nor calibration see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from pipeline.calibrations import fit_sentiment
from pipeline.engine import Engine
from pipeline.errors import BadData
from pipeline.job import Progress
from pipeline.order import Order
from pipeline.records import Outcome
from pipeline.restaurants import group, sample_rates, tokenise
from pipeline.reviews import Dump
from pipeline.run import Loop
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tokens import Tokens

LENGTHS = {"under 100 characters": (0, 100), "100 to 299 characters": (100, 300), "300 characters or more": (300, 1 << 40)}
"""Buckets of text length, the upper end excluded."""


def rated_sample(dump: Dump, size: int, seed: int) -> Dump:
    """`size` reviews with a rating other than 3, drawn with a seed, independent of the order of rows. Raises BadData without any."""
    rated = dump.reviews.filter(pl.col("rating").is_not_null() & (pl.col("rating") != 3)).sort("restaurant_id", "review_id")
    if rated.is_empty():
        raise BadData("no review has a rating other than 3; evaluation needs a dump with ratings (--column rating=YOUR_COLUMN)")
    return Dump(rated.sample(min(size, rated.height), seed=seed), dump.rejects.clear(), dump.files)


def evaluate_sentiment(
    dump: Dump, tokens: Tokens, engine: Engine, order: Order, progress: Progress, check: Callable[[], None]
) -> dict[str, Any]:
    """Balanced accuracy (neutral and unlabelled count as wrong), area under the curve, confusion counts; over all and by text length.

    A rating above 3 stands for positive, below for negative.
    """
    fits = fit_sentiment(dump.reviews["language"].unique(), tokens, engine, progress, check)
    task = SentimentTask(tokens, fits)
    groups = group(dump, sample_rates(dump.reviews, tokens), per_review=8, per_restaurant=0)
    progress.planned(groups.table.height, int(groups.table["estimate"].sum()) // 2)
    restaurants = tokenise(groups.hand_out(order.admission), tokens, engine.max_model_len // 2)
    scored = _scored(list(Loop([task], order, engine, progress).run(restaurants, check)))
    length = pl.col("length")
    return {
        "reviews": scored.height,
        "calibration": {name: {"auc": one.auc, "anchors": one.anchors, "readable": one.readable} for name, one in fits.items()},
        "all": measure(scored),
        **{name: measure(scored.filter(length.is_between(low, high, closed="left"))) for name, (low, high) in LENGTHS.items()},
    }


def measure(scored: pl.DataFrame) -> Mapping[str, Any]:
    """Figures of one table with columns truth, label and score. None where a class is missing."""
    from sklearn.metrics import roc_auc_score

    counts = {
        f"{truth} rated, {label}": n for truth, label, n in scored.group_by("truth", "label").len().sort("truth", "label").iter_rows()
    }
    right = scored.group_by("truth").agg(share=(pl.col("label") == pl.col("truth")).fill_null(False).mean())
    both = right.height == 2
    known = scored.filter(pl.col("score").is_not_null())
    has_auc = known["truth"].n_unique() == 2
    return {
        "reviews": scored.height,
        "balanced_accuracy": float(right["share"].mean()) if both else None,  # type: ignore[arg-type]
        "auc": float(roc_auc_score((known["truth"] == "positive").to_list(), known["score"].to_list())) if has_auc else None,
        "confusion": counts,
    }


def _scored(outcomes: list[Outcome]) -> pl.DataFrame:
    rows: list[tuple[str, str | None, float | None, int]] = []
    for outcome in outcomes:
        found = {one.review_id: one for one in outcome.results.get("sentiment") or ()}
        for review in outcome.restaurant.reviews:
            one = found.get(review.review_id)
            truth = "positive" if (review.rating or 0) > 3 else "negative"
            rows.append((truth, one.label if one else None, one.score if one else None, len(review.text)))
    schema = {"truth": pl.String(), "label": pl.String(), "score": pl.Float64(), "length": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")
