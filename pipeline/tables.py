"""The four tables of a run: explicit schemas, and rows taken over from a run before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from pipeline.records import Praise

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
    "finished_s": pl.Float64(),
    "position": pl.Int64(),
    "finish_reason": pl.String(),
    "reused": pl.Boolean(),
}
COMPARISON_COLUMNS = (
    "status",
    "error",
    "comparison_summary",
    "target_restaurant_strength",
    "strengths_kind",
    "peers",
    "prompt_tokens",
    "cached_tokens",
    "output_tokens",
    "compared_s",
    "fingerprint",
    "reused",
)
"""Columns of `restaurants.parquet` that the second stage of strengths sets, also where the rest of the row is carried over."""
RUN_COLUMNS = ("prompt_tokens", "cached_tokens", "output_tokens", "finished_s", "compared_s", "reused")
"""Columns of `restaurants.parquet` that tell about the run; the others are the result, equal whenever the same dump is analysed."""


@dataclass(frozen=True, slots=True)
class Results:
    """The four tables of a run."""

    restaurants: pl.DataFrame
    reviews: pl.DataFrame
    rejects: pl.DataFrame
    requests: pl.DataFrame

    @property
    def praise(self) -> dict[str, Praise | None]:
        """Tables of praise by restaurant, None where no review was asked about."""
        asked = self.reviews.filter(pl.col("praises").is_not_null())
        counts = dict(asked.group_by("restaurant_id").len().iter_rows())
        praising: dict[str, dict[str, int]] = {}
        for name, aspect, number in asked.explode("praises").drop_nulls("praises").group_by("restaurant_id", "praises").len().iter_rows():
            praising.setdefault(name, {})[aspect] = number
        return {
            name: Praise(counts[name], praising.get(name, {})) if name in counts else None for name in self.restaurants["restaurant_id"]
        }

    def compared_anew(self, rows: Sequence[Mapping[str, Any]]) -> Results:
        """These results with other comparisons for some restaurants: rows of restaurant_id and COMPARISON_COLUMNS."""
        if not rows:
            return self
        names = {row["restaurant_id"] for row in rows}
        schema = {name: RESTAURANTS[name] for name in ("restaurant_id", *COMPARISON_COLUMNS)}
        old = pl.col("restaurant_id").is_in(sorted(names))
        changed = self.restaurants.filter(old).drop(COMPARISON_COLUMNS).join(frame_of(rows, schema), on="restaurant_id")
        return replace(self, restaurants=pl.concat([self.restaurants.filter(~old), changed.select(*RESTAURANTS)]).sort("restaurant_id"))

    def carry_over(self, previous: Results, unchanged: Collection[str]) -> Results:
        """These results and the rows that `previous` has for the unchanged restaurants, at no cost of this run."""
        return self._with(previous, pl.col("restaurant_id").is_in(sorted(unchanged)))

    def keep_others(self, previous: Results) -> Results:
        """These results and all that `previous` has for restaurants that are not in them; its requests stay that run's own story."""
        others = pl.col("restaurant_id").is_in(self.restaurants["restaurant_id"].implode()).fill_null(False).not_()
        rejects = pl.concat([self.rejects, previous.rejects.filter(others)], how="diagonal_relaxed")
        # Rows without a restaurant belong to none that was replaced: the same row of the same file counts once. In a file that was written
        # anew another restaurant's reject may have taken a row's place; that is not the same row.
        place = ["source_file", "source_row", "restaurant_id"]
        return replace(self._with(previous, others), rejects=rejects.unique(place, keep="first", maintain_order=True))

    def _with(self, previous: Results, rows: pl.Expr) -> Results:
        free = [pl.lit(0, RESTAURANTS[name]).alias(name) for name in ("prompt_tokens", "cached_tokens", "output_tokens")]
        none = [pl.lit(None, RESTAURANTS[name]).alias(name) for name in ("finished_s", "compared_s")]
        kept = previous.restaurants.filter(rows).with_columns(*free, *none, reused=pl.lit(True))
        return replace(
            self,
            restaurants=pl.concat([self.restaurants, kept]).sort("restaurant_id"),
            reviews=pl.concat([self.reviews, previous.reviews.filter(rows)]).sort("restaurant_id", "review_id"),
        )


def parted(fingerprint: str | None) -> tuple[str | None, str | None]:
    """A fingerprint's parts: of the restaurant's own rows and settings, and of the figures of its comparison."""
    own, _, figures = (fingerprint or "").partition("-")
    return own or None, figures or None


def frame_of(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows to a table of exactly this schema; a column that a row does not name is null."""
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], dtype=dtype, strict=True) for name, dtype in schema.items()}
    )
