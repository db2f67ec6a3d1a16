"""What the answers of a run are worth, beside what it took: speed is not to be bought with answers."""

from __future__ import annotations

import random
from typing import Any

import polars as pl

from pipeline.agreement import agreement
from pipeline.dump import Dump
from pipeline.order_trials import Trial
from pipeline.tasks.overlap import spoken, supporting
from pipeline.tasks.summary import sentences_of

DRAW = 7
"""Seed of the other restaurants' reviews."""


def quality(dump: Dump, trial: Trial) -> dict[str, Any]:
    """`rating_agreement` of the labels, both sides weighed alike. Of all sentences in partial summaries, as they came: how many of the
    restaurant's own reviews support (`supported`), and of as many drawn from other restaurants (`supported_elsewhere`: what a sentence that
    says nothing gets). Restaurants `with_strengths`, all `strengths`; requests that `failed` or were `cut_off`."""
    tables = trial.tables
    agreed = agreement(dump.reviews, tables.reviews)
    strengths = tables.restaurants["strengths"].list.len()
    statuses = dict(tables.requests["status"].value_counts().iter_rows())
    return {
        "rating_agreement": agreed.balanced if agreed else None,
        **_support(dump, trial),
        "with_strengths": int((strengths > 0).sum()),
        "strengths": int(strengths.sum() or 0),
        **{name: statuses.get(name, 0) for name in ("failed", "cut_off")},
    }


def _support(dump: Dump, trial: Trial) -> dict[str, Any]:
    texts = dict(dump.reviews.sort("restaurant_id", "review_id").group_by("restaurant_id").agg(pl.col("text")).iter_rows())
    words = {name: [spoken(text) for text in some] for name, some in sorted(texts.items())}
    draw = random.Random(DRAW)
    own = elsewhere = number = 0
    for key, request in sorted(trial.requests.items()):
        answer = trial.answers.get(key)
        if request.stage != "part" or answer is None or answer.error:
            continue
        mine = words[request.restaurant_id]
        others = [some for name, theirs in words.items() if name != request.restaurant_id for some in theirs]
        drawn = draw.sample(others, min(len(mine), len(others)))
        for sentence in sentences_of(answer):
            number += 1
            own += bool(supporting(sentence, mine))
            elsewhere += bool(supporting(sentence, drawn))
    share = {"supported": own, "supported_elsewhere": elsewhere}
    return {"sentences": number, **{name: round(count / number, 4) if number else None for name, count in share.items()}}
