"""Summaries that people wrote, to compare with."""

from __future__ import annotations

import polars as pl

from pipeline.columns import read_values
from pipeline.errors import BadData
from pipeline.inputs import find
from pipeline.printable import printable


def read_references(name: str) -> dict[str, list[str]]:
    """Reference summaries by restaurant, several for one where there are; rows without text are left out.

    `name`: a Parquet file (or folder, or glob) with restaurant_id and summary. Raises NoInput, BadData.
    """
    found: dict[str, list[str]] = {}
    for path in find([name]):
        restaurants, summaries = read_values(path, "restaurant_id"), read_values(path, "summary")
        if summaries.dtype not in (pl.String, pl.Null):
            raise BadData(f"{printable(path)}: column 'summary' is {printable(summaries.dtype)}, expected a string")
        for restaurant, summary in zip(restaurants.cast(pl.String, strict=False), summaries, strict=True):
            if restaurant and summary and summary.strip():
                found.setdefault(restaurant, []).append(summary)
    if not found:
        raise BadData(f"{printable(name)}: holds no reference summary; name a file with restaurant_id and summary, or leave it out")
    return found
