"""Summaries and strengths against what guests wrote: support by the restaurant's reviews and, as a control, by as many of other restaurants
(a sentence that fits any restaurant says nothing); likeness to reviews that the model has not seen and to reference summaries; a random
review as the summary for comparison; and every citation looked up again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, median
from typing import Any

import numpy as np

from pipeline.errors import TaskFailed
from pipeline.evaluation.bootstrap import mean
from pipeline.evaluation.rouge import KINDS, Rouge
from pipeline.evaluation.samples import Split
from pipeline.records import Outcome
from pipeline.rows import Row, restaurant_row
from pipeline.tasks.overlap import Spoken, spoken, supporting
from pipeline.tasks.summary import sentences_of

TEN = 10
"""Positive reviews from which on a strength is expected."""
_SENTENCE = re.compile(r"(?<=[.!?。…])\s+|\n+")

Pairs = Sequence[tuple[Split, Outcome]]


def measure_summaries(pairs: Pairs, references: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """Figures of the task summary; shares and ROUGE as estimates over restaurants."""
    rows = [(split, restaurant_row(outcome, ("summary",))) for split, outcome in pairs]
    written = [(split, row) for split, row in rows if row.get("summary")]
    generated = [(split, sentence) for split, outcome in pairs for sentence in generated_sentences(outcome)]
    drawn = [(split, sentence) for split, _ in pairs for text in split.random for sentence in _SENTENCE.split(text) if sentence.strip()]
    left_out = {split.restaurant_id: split.left_out for split, _ in pairs}
    return {
        "restaurants": len(rows),
        "empty": len(rows) - len(written),
        "kinds": dict(Counter(row["summary_kind"] for _, row in written).most_common()),
        "generated_sentences": len(generated),
        "published_sentences": sum(len(row["summary_sentences"]) for _, row in written),
        "support": support([(split, sentence, None) for split, sentence in generated], seed),
        "random_review_support": support([(split, sentence, sentence) for split, sentence in drawn], seed),
        "left_out_reviews": likeness(written, left_out, seed),
        "references": likeness(written, references, seed) if references else None,
        "broken_citations": sum(broken(split, one["review_ids"]) for split, row in written for one in row["summary_sentences"]),
    }


def measure_strengths(rows: Sequence[tuple[Split, Row]], seed: int) -> dict[str, Any]:
    """Figures of the task strengths, from `restaurant_row`s. `with_ten_positive`: among restaurants with ten reviews put in that
    have more than 3 stars."""
    found = [(split, one) for split, row in rows for one in row.get("strengths") or ()]
    has = {split.restaurant_id: bool(row.get("strengths")) for split, row in rows}
    praised = [split.restaurant_id for split, _ in rows if (split.put_in["rating"] > 3).sum() >= TEN]
    supports = [len(one["review_ids"]) for _, one in found]
    return {
        "restaurants": len(rows),
        "with_strength": asdict(mean(list(has.values()), list(has), seed)),
        "with_ten_positive": {"restaurants": len(praised), "with_strength": fmean(has[name] for name in praised) if praised else None},
        "strengths": len(found),
        "per_restaurant": len(found) / len(rows),
        "dropped_claims": sum(row.get("dropped_claims") or 0 for _, row in rows),
        "reviews_behind": {"mean": fmean(supports), "median": median(supports)} if supports else None,
        "aspects": dict(Counter(one["aspect"] for _, one in found).most_common()),
        "support": support([(split, one["claim"], None) for split, one in found], seed),
        "broken_citations": sum(broken(split, one["review_ids"], one["quote"]) for split, one in found),
    }


def generated_sentences(outcome: Outcome) -> list[str]:
    """What the model said last of a restaurant, before its sentences were checked (repeated ones left out): the only part, or
    the merge of all."""
    asked = [one for one in outcome.asked if one.request.task == "summary"]
    try:
        return sentences_of(asked[-1].answer) if asked else []
    except TaskFailed:
        return []


def support(sentences: Sequence[tuple[Split, str, str | None]], seed: int) -> dict[str, Any]:
    """Share of the sentences that a review of their restaurant supports by its words, the share that as many reviews of other restaurants
    would support, and the gap. A sentence given with its origin is not supported by reviews that hold those words: it is from there."""
    words: dict[str, tuple[list[Spoken], list[Spoken]]] = {}
    own, other, whose = [], [], []
    for split, sentence, origin in sentences:
        if split.restaurant_id not in words:
            words[split.restaurant_id] = [spoken(t) for t in split.put_in["text"]], [spoken(t) for t in split.others]
        here, there = words[split.restaurant_id]
        if origin is not None:
            here = [some for some, text in zip(here, split.put_in["text"], strict=True) if origin not in text]
        own.append(float(bool(supporting(sentence, here))))
        other.append(float(bool(supporting(sentence, there))))
        whose.append(split.restaurant_id)
    shares = {"own": np.array(own), "others": np.array(other)}
    shares["gap"] = shares["own"] - shares["others"]
    return {"sentences": len(own), **{name: asdict(mean(list(column), whose, seed)) for name, column in shares.items()}}


def likeness(written: Sequence[tuple[Split, Row]], texts: Mapping[str, Sequence[str]], seed: int) -> dict[str, Any]:
    """ROUGE F1 of the summaries against these texts, of random reviews (the mean of several per restaurant), and the gap."""
    rouge = Rouge()
    compared = [(split, row["summary"], texts[split.restaurant_id]) for split, row in written if texts.get(split.restaurant_id)]
    whose = [split.restaurant_id for split, _, _ in compared]
    summaries = [rouge.f1(summary, some) for _, summary, some in compared]
    drawn = [[rouge.f1(text, some) for text in split.random] for split, _, some in compared]
    figures: dict[str, Any] = {"restaurants": len(compared)}
    for kind in KINDS:
        of_summary = np.array([one[kind] for one in summaries])
        of_random = np.array([fmean(one[kind] for one in several) for several in drawn])
        columns = {"summary": of_summary, "random_review": of_random, "gap": of_summary - of_random}
        figures[kind] = {name: asdict(mean(list(column), whose, seed)) for name, column in columns.items()}
    return figures


def broken(split: Split, review_ids: Sequence[str], quote: str | None = None) -> bool:
    """Whether a sentence cites no review, one that is not there, or a quote that none of the cited ones holds."""
    texts = dict(zip(split.put_in["review_id"], split.put_in["text"], strict=True))
    if not review_ids or not set(review_ids) <= set(texts):
        return True
    return quote is not None and not any(_spaced(quote) in _spaced(texts[review_id]) for review_id in review_ids)


def _spaced(text: str) -> str:
    return " ".join(text.split())
