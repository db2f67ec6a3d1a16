"""Two workers with the real model on real vLLM, a core each: what one run gives, whatever is killed meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from lab import ROOT, Kill, Lab, busiest
from nights import read
from written_down import WritingMachine, nobody

from pipeline.machine import local_machine
from pipeline.schemas import RUN_COLUMNS

pytestmark = pytest.mark.ray

FEW = ("bogie-bun", "eggwell", "forno-mezzaluce", "grumble-burger", "kurofude-ramen", "marigold-loom", "noodle-dept-eight")
TOLERANCE = 0.001
"""Of scores, whose last digits depend on what else was in a step."""
EARLY = 30
"""Answers, of some hundred, after which something is killed."""


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = pl.read_parquet(ROOT / "data/sample/reviews.parquet").filter(pl.col("restaurant_id").is_in(FEW))
    path = tmp_path_factory.mktemp("vllm") / "dump.parquet"
    rows.write_parquet(path)
    return path


@pytest.fixture(scope="module")
def alone(dump):
    """Tables of one run of the command."""
    return analyzed(dump, "alone")[1]


@pytest.fixture
def lab(tmp_path: Path, dump: Path) -> Lab:
    shutil.copy(dump, tmp_path / "dump.parquet")
    here = local_machine(device="cpu", tell=nobody)
    (tmp_path / "asked").mkdir()
    return Lab(tmp_path, WritingMachine(here.name, "cpu", here.feed, here.options, here.cache, False, nobody, tmp_path / "asked"))


def analyzed(dump, name, *options):
    """The manifest and the tables of one run of the command."""
    output = dump.parent / name
    command = [sys.executable, "-m", "jobs", "analyze", dump, "--output", output, "--no-report", "--quiet", *options]
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = output / json.loads((output / "current.json").read_text())["run"]
    return json.loads((folder / "manifest.json").read_text()), read(folder)


def check_equal(found, expected):
    """As two runs of one command are equal."""
    assert found["reviews"].drop("score").equals(expected["reviews"].drop("score"))
    assert (found["reviews"]["score"] - expected["reviews"]["score"]).abs().drop_nulls().max() < TOLERANCE
    assert found["restaurants"].drop(RUN_COLUMNS).equals(expected["restaurants"].drop(RUN_COLUMNS))


def check(done, lab, alone, killed):
    """All is there, committed once, and only what was inside an engine, or answered and not yet written, was asked again."""
    check_equal(read(done.manifest_path.parent), alone)
    assert len(list((lab.folder / "out/runs").iterdir())) == 1
    killed.check(done)


def test_two_workers_give_what_one_run_gives(dump, nodes, alone):
    manifest, together = analyzed(
        dump, "together", "--on", "ray", "--ray-address", nodes.address, "--workers", "2", "--cpus-per-worker", "1"
    )
    check_equal(together, alone)
    assert manifest["workers"]["count"] == 2
    assert manifest["workers"]["deaths"] == 0
    assert set(together["requests"]["key"]) == set(alone["requests"]["key"])


def test_a_worker_that_is_killed_is_replaced_and_only_what_was_inside_is_asked_again(lab, nodes, alone):
    killed = Kill(lab, EARLY, lambda: os.kill(busiest(lab), signal.SIGKILL))
    done = lab.on(nodes.address)
    assert done.manifest["workers"]["deaths"] == 1
    check(done, lab, alone, killed)


def test_a_node_that_disappears_leaves_its_restaurants_to_the_other(lab, nodes, alone):
    killed = Kill(lab, EARLY, lambda: nodes.remove_node(nodes.two[0], allow_graceful=False))
    done = lab.on(nodes.address)
    assert done.manifest["workers"]["deaths"] >= 1
    check(done, lab, alone, killed)


def test_a_driver_that_is_killed_leaves_what_was_answered_to_the_next_one(lab, nodes, alone):
    driver = lab.drive(nodes.address)
    killed = Kill(lab, EARLY, lambda: os.killpg(driver.pid, signal.SIGKILL))
    assert driver.wait(240) == -signal.SIGKILL
    assert not (lab.folder / "out/current.json").exists()
    check(lab.on(nodes.address), lab, alone, killed)
