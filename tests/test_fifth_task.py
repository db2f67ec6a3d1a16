"""A task is one file: put beside the others, it is asked, planned, ordered, told and counted like them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

ROOT = Path(__file__).parent.parent
BESIDE = "import sys, pipeline.tasks; pipeline.tasks.__path__.append(sys.argv.pop(1)); from jobs.__main__ import main; main()"
"""As if the file lay in `pipeline/tasks/`."""


def jobs(*arguments):
    command = [sys.executable, "-c", BESIDE, str(ROOT / "tests" / "fifth_task"), *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def dump(tmp_path_factory):
    texts = ["Lovely place for a birthday dinner.", "We had dinner with the family.", "The dinner menu is great.", "제육볶음이 맛있어요"]
    rows = {"restaurant_id": ["a", "a", "a", "b"], "text": texts}
    path = tmp_path_factory.mktemp("fifth") / "dump.parquet"
    pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.fixture(scope="module")
def done(dump):
    done = jobs(
        "analyze", dump, "--tasks", "sentiment,occasion", "--output", dump.parent / "out", "--slo", "ttft.occasion=1h", "--order", "task"
    )
    assert done.returncode in (0, 3), done.stderr
    return Path(done.stdout.splitlines()[-1]).parent


def test_its_answers_stand_in_a_column_of_its_own(done):
    rows = dict(pl.read_parquet(done / "restaurants.parquet").select("restaurant_id", "occasion").iter_rows())
    assert rows["a"] in ("breakfast", "lunch", "dinner", "coffee", "drinks", "celebration")
    assert rows["b"] is None, "the model does not read Korean"


def test_its_requests_costs_and_wording_are_told(done):
    manifest = json.loads((done / "manifest.json").read_text())
    assert manifest["tasks"] == ["sentiment", "occasion"]
    assert {"sentiment", "occasion"} == manifest["wording"].keys()
    assert "occasion" in {one["task"] for one in manifest["costs"]["tasks"]}
    assert pl.read_parquet(done / "requests.parquet").filter(task="occasion").height == 1
    assert [one["level"] for one in manifest["service_levels"]] == ["ttft.occasion"]


def test_its_reason_stands_where_it_has_no_result(done):
    (error,) = pl.read_parquet(done / "restaurants.parquet").filter(restaurant_id="b")["error"]
    assert "occasion: this model does not read Korean" in error


def test_it_goes_after_the_others_in_the_order_by_task(done):
    rows = pl.read_parquet(done / "requests.parquet").drop_nulls("position").filter(pl.col("restaurant_id") == "a").sort("position")
    assert rows["task"].to_list() == ["sentiment"] * 3 + ["occasion"]


def test_its_answers_are_kept_like_all_others(dump, done):
    again = jobs(
        "analyze", dump, "--tasks", "sentiment,occasion", "--output", dump.parent / "out", "--max-failed", "1", "--skip-exit-code", "99"
    )
    assert again.returncode == 99, again.stderr


@pytest.mark.parametrize("exact", ["50000", "0"], ids=["counted", "estimated"])
def test_it_is_planned_like_the_others(dump, exact):
    done = jobs("plan", dump, "--output", dump.parent / "planned", "--exact-reviews", exact, "--json")
    assert done.returncode == 0, done.stderr
    planned = json.loads(done.stdout)
    (row,) = [one for one in planned["requests"] if one["task"] == "occasion"]
    assert row["requests"] == pytest.approx(1)


def test_help_names_it():
    assert "sentiment,summary,strengths,occasion" in jobs("analyze", "--help").stdout
