"""One outcome to the rows it becomes. What was not asked for is null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.records import Asked, Comparison, Outcome, Sentiment, Strengths
from pipeline.schemas import TOKENS
from pipeline.tasks.known import KINDS

Row = dict[str, Any]


def second_row(outcome: Outcome) -> Row | None:
    """The row of a second stage; None where the figures are those that its restaurant's row shows already."""
    comparison: Comparison | None = outcome.results.get("comparison")
    if comparison is None and not outcome.errors:
        return None
    row: Row = {"restaurant_id": outcome.restaurant.restaurant_id, **paid_tokens(outcome)}
    if comparison is None:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.errors.items())
        return {**row, "reasons": reasons, "pending": outcome.pending}
    return {
        **row,
        "comparison_summary": comparison.summary,
        "target_restaurant_strength": comparison.strength,
        "strengths_kind": comparison.kind,
        "peers": list(comparison.peers),
        "compared_s": outcome.finished_s,
        "figures": None if outcome.again else comparison.figures,
    }


def restaurant_row(outcome: Outcome, tasks: Sequence[str]) -> Row:
    """The row of `restaurants.parquet`: what is true of every restaurant, and what each of the `tasks` has to say."""
    restaurant = outcome.restaurant
    reviews = restaurant.reviews
    ratings = [review.rating for review in reviews if review.rating is not None]
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
        **{name: value for task in tasks for name, value in KINDS[task].row(outcome.results.get(task), restaurant).items()},
        **paid_tokens(outcome),
        "finished_s": outcome.finished_s,
        "reused": False,
    }


def paid_tokens(outcome: Outcome) -> Row:
    """Tokens of the answers that were asked for this restaurant, by kind."""
    paid = [asked.answer for asked in outcome.asked if not asked.reused]
    return {name: sum(getattr(answer, name) for answer in paid) for name in TOKENS}


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
    request, answer, reused = asked.request, asked.answer, asked.reused
    return {
        "key": request.key,
        "task": request.task,
        "stage": request.stage,
        "restaurant_id": request.restaurant_id,
        "status": "failed" if answer.error else "ok" if answer.usable else "cut_off",
        "prompt_tokens": 0 if reused else answer.prompt_tokens,
        "cached_tokens": 0 if reused else answer.cached_tokens,
        "output_tokens": 0 if reused else answer.output_tokens,
        "queue_s": None if reused else answer.queue_s,
        "prefill_s": None if reused else answer.prefill_s,
        "decode_s": None if reused else answer.decode_s,
        "first_token_s": None if reused else answer.first_token_s,
        "finished_s": asked.finished_s,
        "position": None if reused else asked.position,
        "finish_reason": answer.finish_reason,
        "reused": reused,
    }
