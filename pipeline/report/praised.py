"""What guests of some restaurants praise, read back from a run: the same tables that the run's own comparisons were made from."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from pipeline.analysis import Committed
from pipeline.records import Praise
from pipeline.report.opened import rows_of


def praise_of(run: Committed, names: Collection[str]) -> dict[str, Praise]:
    """Tables of praise by restaurant; none of a restaurant of which no review was asked about."""
    asked = rows_of(run, "reviews").filter(pl.col("restaurant_id").is_in(list(names)), pl.col("praises").is_not_null())
    counts = dict(asked.group_by("restaurant_id").len().collect(engine="streaming").iter_rows())
    praised = asked.select("restaurant_id", "praises").explode("praises").drop_nulls().group_by("restaurant_id", "praises").len()
    by_aspect: dict[str, dict[str, int]] = {}
    for name, aspect, number in praised.collect(engine="streaming").iter_rows():
        by_aspect.setdefault(name, {})[aspect] = number
    return {name: Praise(number, by_aspect.get(name, {})) for name, number in counts.items()}
