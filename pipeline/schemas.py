"""The columns of a run's tables, and rows to a table of exactly those."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl
import pyarrow as pa

from pipeline.tasks.known import KINDS

_IDS = pl.List(pl.String())
RESTAURANTS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "restaurant_name": pl.String(),
    "status": pl.String(),
    "error": pl.String(),
    "review_count": pl.Int64(),
    "sampled_count": pl.Int64(),
    "rejected_count": pl.Int64(),
    "truncated_count": pl.Int64(),
    "positive_count": pl.Int64(),
    "neutral_count": pl.Int64(),
    "negative_count": pl.Int64(),
    "unlabelled_count": pl.Int64(),
    "positive_ratio": pl.Float64(),
    "mean_rating": pl.Float64(),
    "rating_agreement": pl.Float64(),
    "summary": pl.String(),
    "summary_kind": pl.String(),
    "summary_support": pl.Float64(),
    "summary_sentences": pl.List(pl.Struct({"text": pl.String(), "review_ids": _IDS})),
    "comparison_summary": pl.String(),
    "target_restaurant_strength": pl.String(),
    "strengths": pl.List(
        pl.Struct({"aspect": pl.String(), "claim": pl.String(), "quote": pl.String(), "review_ids": _IDS, "support": pl.Int64()})
    ),
    "strengths_kind": pl.String(),
    "dropped_claims": pl.Int64(),
    "peers": _IDS,
    **{name: dtype for kind in KINDS.values() for name, dtype in kind.columns.items()},
    "deadline": pl.Datetime("us", "UTC"),
    "deadline_met": pl.Boolean(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "finished_s": pl.Float64(),
    "compared_s": pl.Float64(),
    "fingerprint": pl.String(),
    "reused": pl.Boolean(),
}
REVIEWS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "review_id": pl.String(),
    "sentiment": pl.String(),
    "score": pl.Float64(),
    "praises": pl.List(pl.String()),
    "flags": pl.List(pl.String()),
}
REQUESTS: dict[str, pl.DataType] = {
    "key": pl.String(),
    "task": pl.String(),
    "stage": pl.String(),
    "restaurant_id": pl.String(),
    "status": pl.String(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "queue_s": pl.Float64(),
    "prefill_s": pl.Float64(),
    "decode_s": pl.Float64(),
    "first_token_s": pl.Float64(),
    "finished_s": pl.Float64(),
    "position": pl.Int64(),
    "finish_reason": pl.String(),
    "reused": pl.Boolean(),
}
"""One request as it was run. All seconds are wall time.

`queue_s`: from the engine's taking it in to the step that computes its first prompt token. `prefill_s`: from there to its first output
token. `decode_s`: from there to its last. Those of its neighbours in the batch are the same seconds, so sums over requests exceed the time
of the run; what a task took of that is in the manifest (`costs`). `first_token_s`: from submission to the first output token, queue and
prefill and the way between processes together. `finished_s`: from the run's first submission to the answer. `cached_tokens`: of
`prompt_tokens`, those that the engine had computed for another request. `position` counts submissions from 0. An answer that was not asked
of the engine (`reused`) has no tokens and no seconds but `finished_s`."""
SECOND: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "comparison_summary": pl.String(),
    "target_restaurant_strength": pl.String(),
    "strengths_kind": pl.String(),
    "peers": _IDS,
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "compared_s": pl.Float64(),
    "figures": pl.String(),
    "reasons": pl.String(),
    "pending": pl.Boolean(),
}
"""What a second stage of strengths has found out of a restaurant. `figures`: the second part of its fingerprint, null where its row is to
be looked at again. `reasons`: why there is no comparison, null where there is one; `pending`: because the run ended."""
TOKENS = ("prompt_tokens", "cached_tokens", "output_tokens")
RUN_COLUMNS = ("deadline", "deadline_met", "prompt_tokens", "cached_tokens", "output_tokens", "finished_s", "compared_s", "reused")
"""Columns of `restaurants.parquet` that tell about the run; the others are the result, equal whenever the same dump is analysed."""


def frame_of(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows to a table of exactly this schema; a column that a row does not name is null."""
    return pl.DataFrame([_column(name, [row.get(name) for row in rows], dtype) for name, dtype in schema.items()])


def _column(name: str, values: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    """Lists go through Arrow: Polars makes a Series of each of them, which took as long as all other columns together."""
    if not isinstance(dtype, pl.List):
        return pl.Series(name, values, dtype=dtype, strict=True)
    return pl.Series(name, pl.from_arrow(pa.array(values, type=_arrow_type(dtype))), dtype=dtype)


@lru_cache(maxsize=64)
def _arrow_type(dtype: pl.DataType) -> pa.DataType:
    return pl.Series([], dtype=dtype).to_arrow().type
