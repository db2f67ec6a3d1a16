"""Two workers with the real model on real vLLM, a core each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from lab import ROOT

from pipeline.schemas import RUN_COLUMNS

pytestmark = pytest.mark.ray

FEW = ("bogie-bun", "eggwell", "forno-mezzaluce", "grumble-burger", "kurofude-ramen", "marigold-loom", "noodle-dept-eight")
TOLERANCE = 0.001
"""Of scores, whose last digits depend on what else was in a step."""


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = pl.read_parquet(ROOT / "data/sample/reviews.parquet").filter(pl.col("restaurant_id").is_in(FEW))
    path = tmp_path_factory.mktemp("vllm") / "dump.parquet"
    rows.write_parquet(path)
    return path


def analyzed(dump, name, *options, environment=None):
    """The manifest and the tables of one run of the command."""
    output = dump.parent / name
    command = [sys.executable, "-m", "jobs", "analyze", dump, "--output", output, "--no-report", "--quiet", *options]
    done = subprocess.run([*map(str, command)], cwd=ROOT, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = output / json.loads((output / "current.json").read_text())["run"]
    tables = {table: pl.read_parquet(folder / f"{table}.parquet") for table in ("restaurants", "reviews", "requests")}
    return json.loads((folder / "manifest.json").read_text()), tables


def check_equal(found, expected):
    """As two runs of one command are equal."""
    assert found["reviews"].drop("score").equals(expected["reviews"].drop("score"))
    assert (found["reviews"]["score"] - expected["reviews"]["score"]).abs().drop_nulls().max() < TOLERANCE
    assert found["restaurants"].drop(RUN_COLUMNS).equals(expected["restaurants"].drop(RUN_COLUMNS))


def test_two_workers_give_what_one_run_gives(dump, nodes):
    _, alone = analyzed(dump, "alone")
    manifest, together = analyzed(
        dump, "together", "--on", "ray", "--ray-address", nodes.address, "--workers", "2", "--cpus-per-worker", "1"
    )
    check_equal(together, alone)
    assert manifest["workers"]["count"] == 2
    assert manifest["workers"]["deaths"] == 0
    assert set(together["requests"]["key"]) == set(alone["requests"]["key"])
