"""What happened when in one pass over restaurants, measured or simulated: the two tables that all figures of an order are taken from."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl

from pipeline.measured_costs import asked_of_engine
from pipeline.order import prefill_cost
from pipeline.simulation.workload import Bundles
from pipeline.tables import Results, own_status

RESTAURANTS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "arrival": pl.Int64(),  # place in the dump
    "cost": pl.Int64(),  # prefill tokens of its first stage, what a chunk shares counted once
    "started": pl.Int64(),  # how many restaurants had a request inside the engine before its first one
    "finished_s": pl.Float64(),  # last answer of the first stage, null where only its comparison was asked
    "compared_s": pl.Float64(),  # last answer of the comparison, null without one
    "status": pl.String(),  # as in restaurants.parquet
}
REQUESTS: dict[str, pl.DataType] = {
    "arrival": pl.Int64(),  # of its restaurant
    "task": pl.String(),
    "stage": pl.String(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "first_token_s": pl.Float64(),  # since it was given to the engine
    "finished_s": pl.Float64(),
    "status": pl.String(),  # as in requests.parquet
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """`restaurants` and `requests`: a row for each that was asked about, schemas above; seconds from the first request on. `seconds`: to
    the last answer. `steps` of the engine, None where nobody counted. `due_s`: seconds until their deadline, of restaurants that have one.
    """

    restaurants: pl.DataFrame
    requests: pl.DataFrame
    seconds: float
    steps: int | None = None
    due_s: Mapping[str, float] = field(default_factory=dict)


def table(columns: Mapping[str, Sequence[object]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Lists or arrays to a table of this schema."""
    return pl.DataFrame({name: pl.Series(name, _values(columns[name]), dtype=dtype) for name, dtype in schema.items()})


def _values(column: Sequence[object]) -> Any:
    return np.array(column) if isinstance(column, array) else column


def measured_timeline(tables: Results, asked: Bundles, steps: int | None) -> Timeline:
    """Of a run that asked everything anew. `asked`: what it asked, for the restaurants' costs and places."""
    requests = asked_of_engine(tables.requests)
    costs = [
        prefill_cost(ask.request for stage in one.stages if not stage.after and not stage.compares for ask in stage.asks)
        for one in asked.bundles
    ]
    known = pl.DataFrame(
        {
            "restaurant_id": [one.restaurant.restaurant_id for one in asked.bundles],
            "arrival": [one.restaurant.arrival for one in asked.bundles],
            "cost": costs,
        },
        schema_overrides={"restaurant_id": pl.String(), "arrival": pl.Int64(), "cost": pl.Int64()},
    )
    first = requests.group_by("restaurant_id").agg(started=pl.col("position").min())
    ranked = first.with_columns(started=pl.col("started").rank("ordinal").cast(pl.Int64) - 1)
    times = tables.restaurants.select("restaurant_id", "finished_s", "compared_s", own_status())
    restaurants = known.join(times, on="restaurant_id", how="left").join(ranked, on="restaurant_id", how="left").sort("arrival")
    rows = requests.join(known, on="restaurant_id", how="left")
    last = requests["finished_s"].max()
    return Timeline(restaurants.select(*RESTAURANTS), rows.select(*REQUESTS), float(last) if isinstance(last, float) else 0.0, steps)
