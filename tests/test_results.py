"""The commit: complete or not at all, explicit schemas, rows carried over."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipeline import results
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.reviews import REJECT_SCHEMA


def tables(*ids, status="ok"):
    rows = [{"restaurant_id": name, "status": status, "review_count": 1, "reused": False} for name in ids]
    reviews = [{"restaurant_id": name, "review_id": f"{name}-1", "sentiment": "positive", "flags": []} for name in ids]
    return results.Results(
        results.frame_of(rows, results.RESTAURANTS),
        results.frame_of(reviews, results.REVIEWS),
        results.frame_of([{"source_file": f"{name}.parquet", "source_row": 0, "restaurant_id": name} for name in ids], REJECT_SCHEMA),
        results.frame_of([{"key": name, "restaurant_id": name} for name in ids], results.REQUESTS),
    )


def test_a_first_commit_is_found_by_pointer_and_symlink(tmp_path):
    manifest = results.commit(tmp_path, "run-1", tables("a"), {"n": 1})
    folder, found = results.committed(tmp_path)
    assert (folder, found) == (manifest.parent, {"n": 1})
    assert (tmp_path / "current").resolve() == folder.resolve()
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["manifest.json", "rejects.parquet", "requests.parquet", "restaurants.parquet", "reviews.parquet"]
    )


def test_a_second_commit_replaces_the_pointer_and_keeps_the_run_before(tmp_path):
    results.commit(tmp_path, "run-1", tables("a"), {"n": 1})
    results.commit(tmp_path, "run-2", tables("b"), {"n": 2})
    assert results.committed(tmp_path)[1] == {"n": 2}
    assert str((tmp_path / "current").readlink()) == "runs/run-2"
    assert pl.read_parquet(tmp_path / "runs/run-1/restaurants.parquet")["restaurant_id"].to_list() == ["a"]


@pytest.mark.parametrize("step", ["write_parquet", "_write", "_sync"])
def test_a_commit_that_fails_at_any_step_leaves_readers_the_run_before(tmp_path, monkeypatch, step):
    results.commit(tmp_path, "run-1", tables("a"), {"n": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pl.DataFrame if step == "write_parquet" else results, step, full)
    with pytest.raises(TryAgain, match="No space left"):
        results.commit(tmp_path, "run-2", tables("b"), {"n": 2})
    assert results.committed(tmp_path)[1] == {"n": 1}
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["run-1"]


def test_a_disk_that_is_really_full_is_try_again_and_leaves_nothing(tmp_path):
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_results import results, tables
from pipeline.errors import TryAgain
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
big = tables(*(f"restaurant-{{i}}-{{hash(i * 7919)}}" for i in range(20000)))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    results.commit(Path({str(tmp_path)!r}), "run-1", big, {{}})
except TryAgain as error:
    print("again:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert done.stdout.startswith("again:"), done.stdout + done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_manifest_is_written_after_all_tables(tmp_path, monkeypatch):
    there = []
    write = results._write
    monkeypatch.setattr(
        results, "_write", lambda path, text: (there.append(sorted(p.name for p in path.parent.iterdir())), write(path, text))
    )
    results.commit(tmp_path, "run-1", tables("a"), {})
    assert {"rejects.parquet", "requests.parquet", "restaurants.parquet", "reviews.parquet"} <= set(there[0])


def test_empty_results_have_the_full_schema():
    empty = tables()
    assert dict(empty.restaurants.schema) == results.RESTAURANTS
    assert dict(empty.reviews.schema) == results.REVIEWS
    assert dict(empty.requests.schema) == results.REQUESTS


def test_schemas_survive_the_file(tmp_path):
    path = results.commit(tmp_path, "run-1", tables("a"), {}).parent
    assert dict(pl.read_parquet(path / "restaurants.parquet").schema) == results.RESTAURANTS


def test_carrying_over_keeps_other_restaurants_and_replaces_ones_analysed_again(tmp_path):
    before = results.commit(tmp_path, "run-1", tables("a", "b"), {}).parent
    merged = tables("b", "c", status="partial").carry_over(results.read_back((before, {})).results)
    rows = merged.restaurants.select("restaurant_id", "status", "reused").rows()
    assert rows == [("a", "ok", True), ("b", "partial", False), ("c", "partial", False)]
    assert merged.reviews["review_id"].to_list() == ["a-1", "b-1", "c-1"]
    assert sorted(merged.rejects["restaurant_id"]) == ["a", "b", "c"]
    assert merged.requests["restaurant_id"].to_list() == ["b", "c"]


def test_an_output_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadConfiguration, match="choose another --output"):
        results.check_writable(tmp_path / "file")


def test_a_damaged_pointer_is_named(tmp_path):
    (tmp_path / results.CURRENT).write_text(json.dumps({"run": "runs/gone"}))
    with pytest.raises(BadConfiguration, match=r"current\.json"):
        results.committed(tmp_path)
