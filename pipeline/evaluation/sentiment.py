"""Labels against what is known of reviews: accuracy, balanced accuracy, area under the curve, confusion; by language and by length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.evaluation.bootstrap import Floats, estimate, ratio
from pipeline.records import Outcome
from pipeline.rows import review_rows
from pipeline.schemas import REVIEWS, frame_of

LENGTHS = {"under 100 characters": (0, 100), "100 to 299 characters": (100, 300), "300 characters or more": (300, 1 << 40)}
"""Buckets of text length, the upper end excluded."""
LANGUAGES = {"en": "English", "ko": "Korean"}
TRUTHS = ("positive", "neutral", "negative")
ANSWERS = (*TRUTHS, "unlabelled")
KEYS = ["restaurant_id", "review_id"]

Bools = npt.NDArray[np.bool_]


def scored(outcomes: Sequence[Outcome], known: pl.DataFrame) -> pl.DataFrame:
    """One row per review asked about: restaurant_id, truth, answer (a label or `unlabelled`), score, language, length in characters."""
    found = frame_of([row for outcome in outcomes for row in review_rows(outcome, ("sentiment",))], REVIEWS)
    return found.join(known.select(*KEYS, "truth", "language", length=pl.col("text").str.len_chars()), on=KEYS).select(
        "restaurant_id", "truth", "language", "length", "score", answer=pl.col("sentiment").fill_null("unlabelled")
    )


def measure_sentiment(rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Figures of `scored` rows. Neutral ones are counted apart: how they are labelled says more than any two-class figure."""
    two = rows.filter(pl.col("truth") != "neutral")
    parts = {
        "by_language": {LANGUAGES[code]: two.filter(pl.col("language") == code) for code in LANGUAGES},
        "by_length": {name: two.filter(pl.col("length").is_between(low, high, closed="left")) for name, (low, high) in LENGTHS.items()},
    }
    measured = {kind: {name: two_class(part, seed) for name, part in named.items() if part.height} for kind, named in parts.items()}
    return {"all": two_class(two, seed), **measured, "confusion": confusion(rows)}


def two_class(rows: pl.DataFrame, seed: int) -> dict[str, Any]:
    """Accuracy and balanced accuracy (an answer that is neutral or missing counts as wrong), area under the curve of the scores that there
    are, and the majority class as baseline."""
    positive = (rows["truth"] == "positive").to_numpy()
    right = (rows["truth"] == rows["answer"]).to_numpy()
    with_score = rows.filter(pl.col("score").is_not_null())
    truth, ranks = (with_score["truth"] == "positive").to_numpy(), with_score["score"].rank("dense").to_numpy()
    restaurants = rows["restaurant_id"].to_list()
    positives = ratio(float(positive.sum()), rows.height)
    return {
        "reviews": rows.height,
        "restaurants": rows["restaurant_id"].n_unique(),
        "unlabelled": rows.filter(pl.col("answer") == "unlabelled").height,
        "accuracy": asdict(estimate(lambda times: accuracy(right, times), restaurants, seed)),
        "balanced_accuracy": asdict(estimate(lambda times: balanced_accuracy(positive, right, times), restaurants, seed)),
        "area_under_curve": asdict(
            estimate(lambda times: area_under_curve(truth, ranks, times), with_score["restaurant_id"].to_list(), seed)
        ),
        "majority_class": {"label": "positive" if positives >= 0.5 else "negative", "accuracy": max(positives, 1 - positives)},
    }


def accuracy(right: Bools, times: Floats) -> float:
    """Share of rows that are right. `times`: how often each row counts."""
    return ratio(float(times @ right), float(times.sum()))


def balanced_accuracy(positive: Bools, right: Bools, times: Floats) -> float:
    """Mean of the shares that are right among the positive and among the negative rows; NaN where one of them is missing."""
    shares = [accuracy(right[side], times[side]) for side in (positive, ~positive)]
    return float(np.mean(shares))


def area_under_curve(positive: Bools, ranks: npt.NDArray[np.uint32], times: Floats) -> float:
    """Probability that a positive row has a higher score than a negative one, ties counting half (Hanley and McNeil 1982, "The Meaning and
    Use of the Area under a Receiver Operating Characteristic (ROC) Curve", Radiology 143). `ranks`: of the scores, dense, from 1."""
    above, below = (np.bincount(ranks, weights=times * side) for side in (positive, ~positive))
    lower = np.cumsum(below) - below
    return ratio(float(above @ (lower + below / 2)), float(above.sum() * below.sum()))


def confusion(rows: pl.DataFrame) -> Mapping[str, Mapping[str, int]]:
    """By truth, how often each answer was given; truths that do not occur are left out."""
    counts: dict[tuple[str, str], int] = {(truth, answer): n for truth, answer, n in rows.group_by("truth", "answer").len().iter_rows()}
    there = {truth for truth, _ in counts}
    return {truth: {answer: counts.get((truth, answer), 0) for answer in ANSWERS} for truth in TRUTHS if truth in there}
