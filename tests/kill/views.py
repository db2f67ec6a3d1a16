"""What readers of an output see, and whether it is one complete run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl

from pipeline import parts, results
from pipeline.schemas import RUN_COLUMNS
from pipeline.upkeep import ANSWERS

TABLES = ("restaurants", "reviews", "rejects", "requests")
Tables = Mapping[str, pl.DataFrame]


def resolve(pointer: Path) -> Path:
    """The folder of the run that `current.json` names."""
    return pointer.parent / json.loads(pointer.read_text())["run"]


def read_run(folder: Path) -> Tables:
    """A run's tables. Raises whatever shows that they are not whole, or not of one run."""
    manifest = json.loads((folder / results.MANIFEST).read_text())
    tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    counts = manifest["counts"]
    heights = {name: table.height for name, table in tables.items()}
    told = {name: counts[name] for name in TABLES[1:]} | {"restaurants": sum(counts["restaurants"].values())}
    if manifest["run_id"] != folder.name or heights != told:
        raise AssertionError(f"{folder}: {heights} rows, the manifest of {manifest['run_id']} tells {told}")
    per_restaurant = tables["reviews"].group_by("restaurant_id").len("review_count").sort("restaurant_id")
    reviewed = tables["restaurants"].filter(pl.col("review_count") > 0)
    if reviewed.select("restaurant_id", pl.col("review_count").cast(pl.UInt32)).rows() != per_restaurant.rows():
        raise AssertionError(f"{folder}: reviews and restaurants are of different runs")
    return tables


def check_view(output: Path) -> str:
    """Makes sure that both ways lead to a complete run; the run id that `current.json` names."""
    folder = resolve(output / results.CURRENT)
    read_run(folder)
    read_run((output / "current").resolve(strict=True))
    return folder.name


def check_tidy(output: Path) -> None:
    """Makes sure that nothing of runs that died is left, and that both ways lead to the same run."""
    known = json.loads((output / results.CURRENT).read_text())
    assert (output / "current").resolve() == (output / known["run"]).resolve()
    assert {f"runs/{folder.name}" for folder in (output / results.RUNS).iterdir()} == {known["run"], known["previous"]} - {None}
    files = {results.CURRENT, results.RUNS, results.LOCK, results.HOLDER, "current"}
    assert {path.name for path in output.iterdir()} <= files
    for name in (known["run"], known["previous"]):
        if name:
            assert {path.name for path in (output / name).iterdir()} == {results.MANIFEST, *(f"{table}.parquet" for table in TABLES)}


def result_columns(output: Path) -> dict[str, pl.DataFrame]:
    """The tables of the committed run without what tells about the run."""
    tables = read_run(resolve(output / results.CURRENT))
    return {
        "restaurants": tables["restaurants"].drop(RUN_COLUMNS),
        "reviews": tables["reviews"],
        "rejects": tables["rejects"],
    }


def assert_equal_results(output: Path, expected: Mapping[str, pl.DataFrame]) -> None:
    """Exactly: every result column of every row."""
    for name, table in result_columns(output).items():
        assert table.equals(expected[name]), f"{output}: {name} differs"


def stored_keys(store: Path) -> set[bytes]:
    """Keys of all answers in a store; every part has to be readable."""
    found: set[bytes] = set()
    for part in parts.listed(store / ANSWERS):
        rows = part.rows("high", "low")
        assert rows is not None, f"{part.path}: damaged"
        found |= {high.to_bytes(8, "little") + low.to_bytes(8, "little") for high, low in rows.iter_rows()}
    assert not (store / ANSWERS / parts.SET_ASIDE).exists()
    return found
