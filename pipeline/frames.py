"""A frame in place of a dump: written to a file once, and read like any other."""

from __future__ import annotations

from pathlib import Path

import polars as pl

NAME = "frame.parquet"


def in_a_file(frame: pl.LazyFrame, folder: Path) -> str:
    """The path of the frame's rows as Parquet, never whole in memory. The same folder gives the same path, so that a row that is rejected
    night after night is the same row. Raises what the frame's own sources raise."""
    path = folder / NAME
    frame.sink_parquet(path)
    return str(path)
