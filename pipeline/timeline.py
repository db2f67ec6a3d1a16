"""What happened when in one pass over restaurants, measured or simulated: the two tables that all figures of an order are taken from."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

RESTAURANTS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "arrival": pl.Int64(),  # place in the dump
    "cost": pl.Int64(),  # prefill tokens of its first stage, what a chunk shares counted once
    "started": pl.Int64(),  # how many restaurants had a request inside the engine before its first one
    "finished_s": pl.Float64(),  # last answer of the first stage
    "compared_s": pl.Float64(),  # last answer of the comparison, null without one
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
}


@dataclass(frozen=True, slots=True)
class Timeline:
    """`restaurants` and `requests`: a row for each that was asked about, schemas above; seconds from the first request on. `seconds`: to
    the last answer. `steps` of the engine, None where nobody counted."""

    restaurants: pl.DataFrame
    requests: pl.DataFrame
    seconds: float
    steps: int | None = None


def table(columns: Mapping[str, Sequence[object]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Lists or arrays to a table of this schema."""
    return pl.DataFrame({name: pl.Series(name, _values(columns[name]), dtype=dtype) for name, dtype in schema.items()})


def _values(column: Sequence[object]) -> Any:
    return np.array(column) if isinstance(column, array) else column
