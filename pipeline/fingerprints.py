"""What a restaurant's row was computed from, as one digest: an unchanged one is carried over and costs nothing, not even tokenising."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import polars as pl

from pipeline.dump import Dump

ROW = ("review_id", "text", "language", "rating", "created_at", "restaurant_name", "category", "area")


def fingerprints(dump: Dump, settings: Callable[[tuple[str, ...]], str]) -> dict[str, str]:
    """A digest of 128 bits by restaurant: its reviews in order, its rejects, and the settings for its languages.

    `settings` is given the languages of a restaurant's reviews, sorted: a language that appears elsewhere in the dump changes nothing here.
    """
    known: dict[tuple[str, ...], str] = {}
    found = {}
    for number, part in enumerate(dump):
        for name, rows, languages, rejected in _rows(part, dump.named_rejects_of(number)).iter_rows():
            spoken = tuple(languages or ())
            if spoken not in known:
                known[spoken] = settings(spoken)
            content = "\0".join((known[spoken], rows or "", rejected or ""))
            found[name] = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
    return found


def _rows(reviews: pl.DataFrame, rejects: pl.DataFrame) -> pl.DataFrame:
    """A restaurant's rows, each as JSON."""
    usable = (
        reviews.select("restaurant_id", "language", row=pl.struct(ROW).struct.json_encode())
        .group_by("restaurant_id")
        .agg(rows=pl.col("row").str.join("\n"), languages=pl.col("language").unique().sort())
    )
    rejected = (
        rejects.select("restaurant_id", rejected=pl.struct("reason", "restaurant_name").struct.json_encode())
        .group_by("restaurant_id")
        .agg(pl.col("rejected").sort().str.join("\n"))
    )
    return usable.join(rejected, on="restaurant_id", how="full", coalesce=True).select("restaurant_id", "rows", "languages", "rejected")
