"""One outcome to the rows it becomes. What was not asked for is null."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from pipeline.batches import Batches
from pipeline.records import Asked, Comparison, Outcome, Review, Sentiment, Strengths, Summary
from pipeline.tables import REQUESTS, RESTAURANTS, REVIEWS, Results, frame_of, parted

Row = dict[str, Any]
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")


def tables_of(
    outcomes: Iterable[Outcome],
    rejects: pl.DataFrame,
    tasks: Sequence[str],
    fingerprints: Mapping[str, str],
    due: Mapping[str, Row] | None = None,
) -> tuple[Results, list[Row]]:
    """The four tables. An outcome becomes its rows as it comes and is dropped with its texts and prompts.

    A row in which something failed that may succeed another time gets no fingerprint, so that the next run looks at it again. `due`:
    committed rows of restaurants that may get another comparison; those that got one are returned beside the tables.
    """
    restaurants: dict[str, Row] = {}
    carried: dict[str, Row] = {}
    reviews, requests = Batches(REVIEWS), Batches(REQUESTS)
    for outcome in outcomes:
        name = outcome.restaurant.restaurant_id
        requests.add(request_row(asked) for asked in outcome.asked)
        if not outcome.follows:
            fingerprint = None if outcome.again else fingerprints[name]
            restaurants[name] = {**restaurant_row(outcome, tasks), "fingerprint": fingerprint}
            reviews.add(review_rows(outcome, tasks))
        elif name in restaurants:
            restaurants[name] |= compared(restaurants[name], outcome)
        elif not outcome.pending:  # else the committed comparison stays until a run gets there
            row = {**(due or {})[name], **dict.fromkeys(TOKENS, 0)}
            if changed := compared(row, outcome):
                carried[name] = {**row, **changed}
    tables = Results(
        frame_of(list(restaurants.values()), RESTAURANTS).sort("restaurant_id"),
        reviews.frame().sort("restaurant_id", "review_id"),
        rejects,
        requests.frame(),
    )
    return tables, list(carried.values())


def compared(row: Row, outcome: Outcome) -> Row:
    """What a second stage changes in its restaurant's row; nothing where the figures are those that the row shows already."""
    comparison: Comparison | None = outcome.results.get("comparison")
    if comparison is None and not outcome.errors:
        return {}
    paid = [asked.answer for asked in outcome.asked if not asked.reused]
    changed: Row = {name: row[name] + sum(getattr(answer, name) for answer in paid) for name in TOKENS}
    own, _ = parted(row["fingerprint"])
    changed |= {"reused": False, "fingerprint": None}
    if comparison is None:
        reasons = [row["error"], *(f"{name}: {reason}" for name, reason in outcome.errors.items())]
        status = "pending" if outcome.pending else "partial" if row["status"] == "ok" else row["status"]
        missing = ("comparison_summary", "target_restaurant_strength", "strengths_kind", "peers", "compared_s")
        return {**changed, **dict.fromkeys(missing), "status": status, "error": "; ".join(filter(None, reasons))}
    return {
        **changed,
        "comparison_summary": comparison.summary,
        "target_restaurant_strength": comparison.strength,
        "strengths_kind": comparison.kind,
        "peers": list(comparison.peers),
        "compared_s": outcome.finished_s,
        "fingerprint": f"{own}-{comparison.figures}" if own and not outcome.again else None,
    }


def restaurant_row(outcome: Outcome, tasks: Sequence[str]) -> Row:
    """The row of `restaurants.parquet`. review_count = positive + neutral + negative + unlabelled where sentiment was asked for."""
    restaurant = outcome.restaurant
    reviews = restaurant.reviews
    ratings = [review.rating for review in reviews if review.rating is not None]
    paid = [asked.answer for asked in outcome.asked if not asked.reused]
    return {
        "restaurant_id": restaurant.restaurant_id,
        "restaurant_name": restaurant.restaurant_name,
        "status": outcome.status,
        "error": "; ".join(f"{task}: {reason}" for task, reason in sorted(_reasons(outcome).items())) or None,
        "review_count": len(reviews),
        "sampled_count": outcome.sampled_count,
        "rejected_count": restaurant.rejected_count,
        "truncated_count": sum("truncated" in flags for flags in outcome.flags.values()),
        "mean_rating": sum(ratings) / len(ratings) if ratings else None,
        **(_counts(reviews, outcome.results.get("sentiment")) if "sentiment" in tasks else {}),
        **_summary(outcome.results.get("summary")),
        **_strengths(outcome.results.get("strengths")),
        **{name: sum(getattr(answer, name) for answer in paid) for name in TOKENS},
        "finished_s": outcome.finished_s,
        "reused": False,
    }


def _reasons(outcome: Outcome) -> Mapping[str, str]:
    failed = "strengths" in outcome.errors and not outcome.pending
    return {**outcome.errors, "comparison": "nothing to compare, its first stage has no result"} if failed else outcome.errors


def review_rows(outcome: Outcome, tasks: Sequence[str]) -> list[Row]:
    """Rows of `reviews.parquet`, one per analysed review. A review that sentiment was asked of and
    that got none has the flag `no_label`."""
    found: dict[str, Sentiment] = {one.review_id: one for one in outcome.results.get("sentiment") or ()}
    strengths: Strengths | None = outcome.results.get("strengths")
    praises = strengths.praises if strengths else {}
    rows = []
    for review in outcome.restaurant.reviews:
        one = found.get(review.review_id)
        label = one.label if one else None
        flags = list(outcome.flags.get(review.review_id, ()))
        rows.append(
            {
                "restaurant_id": outcome.restaurant.restaurant_id,
                "review_id": review.review_id,
                "sentiment": label,
                "score": one.score if one else None,
                "praises": list(praises[review.review_id]) if review.review_id in praises else None,
                "flags": [*flags, "no_label"] if label is None and "sentiment" in tasks else flags,
            }
        )
    return rows


def request_row(asked: Asked) -> Row:
    """The row of `requests.parquet`; tokens and seconds are nobody's twice, a reused answer has none."""
    request, answer = asked.request, asked.answer
    identity = {"key": request.key, "task": request.task, "stage": request.stage, "restaurant_id": request.restaurant_id}
    status = "failed" if answer.error else "ok" if answer.usable else "cut_off"
    ended = {"status": status, "finish_reason": answer.finish_reason, "finished_s": asked.finished_s, "reused": asked.reused}
    if asked.reused:
        return {**identity, **ended, "prompt_tokens": 0, "cached_tokens": 0, "output_tokens": 0}
    costs = ("prompt_tokens", "cached_tokens", "output_tokens", "queue_s", "prefill_s", "decode_s", "first_token_s")
    return {**identity, **ended, **{name: getattr(answer, name) for name in costs}, "position": asked.position}


def _counts(reviews: Sequence[Review], found: Sequence[Sentiment] | None) -> Row:
    by_label = Counter(one.label for one in found or ())
    labelled = by_label["positive"] + by_label["neutral"] + by_label["negative"]
    pairs = [
        (one.label, "positive" if review.rating > 3 else "negative")
        for review, one in zip(reviews, found or (), strict=False)
        if review.rating is not None and review.rating != 3 and one.label is not None
    ]
    return {
        **{f"{label}_count": by_label[label] for label in ("positive", "neutral", "negative")},
        "unlabelled_count": len(reviews) - labelled,
        "positive_ratio": by_label["positive"] / labelled if labelled else None,
        "rating_agreement": sum(label == rated for label, rated in pairs) / len(pairs) if pairs else None,
    }


def _summary(summary: Summary | None) -> Row:
    if summary is None:
        return {}
    sentences = [{"text": text, "review_ids": list(ids)} for text, ids in zip(summary.sentences, summary.review_ids, strict=True)]
    return {"summary": summary.text, "summary_kind": summary.kind, "summary_support": summary.support, "summary_sentences": sentences}


def _strengths(strengths: Strengths | None) -> Row:
    if strengths is None:
        return {}
    found = [
        {"aspect": one.aspect, "claim": one.claim, "quote": one.quote, "review_ids": list(one.review_ids), "support": len(one.review_ids)}
        for one in strengths.found
    ]
    return {"strengths": found, "dropped_claims": strengths.dropped}
