"""The commit: complete or not at all, explicit schemas, rows carried over."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest

from pipeline import durable, results
from pipeline.contract import REVIEWS as DUMP
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS, frame_of
from pipeline.tables import Results

RUN = {f"run-{i}": f"20261121T00000{i}Z-00000{i}" for i in range(1, 5)}


def tables(*ids, status="ok"):
    rows = [{"restaurant_id": name, "status": status, "review_count": 1, "reused": False} for name in ids]
    reviews = [{"restaurant_id": name, "review_id": f"{name}-1", "sentiment": "positive", "flags": []} for name in ids]
    return Results(
        frame_of(rows, RESTAURANTS),
        frame_of(reviews, REVIEWS),
        frame_of([{"source_file": f"{name}.parquet", "source_row": 0, "restaurant_id": name} for name in ids], DUMP.reject_schema),
        frame_of([{"key": name, "restaurant_id": name} for name in ids], REQUESTS),
    )


def commit(output, run_id, made, manifest):
    with results.lock(output):
        results.write(output, RUN[run_id], [made], lambda: manifest)
        return results.publish(output, RUN[run_id])


def test_a_first_commit_is_found_by_pointer_and_symlink(tmp_path):
    manifest = commit(tmp_path, "run-1", tables("a"), {"n": 1})
    folder, found = results.committed(tmp_path)
    assert (folder, found) == (manifest.parent, {"n": 1})
    assert (tmp_path / "current").resolve() == folder.resolve()
    assert sorted(p.name for p in folder.iterdir()) == sorted(
        ["manifest.json", "rejects.parquet", "requests.parquet", "restaurants.parquet", "reviews.parquet"]
    )


def test_a_second_commit_replaces_the_pointer_and_keeps_the_run_before(tmp_path):
    commit(tmp_path, "run-1", tables("a"), {"n": 1})
    commit(tmp_path, "run-2", tables("b"), {"n": 2})
    assert results.committed(tmp_path)[1] == {"n": 2}
    assert str((tmp_path / "current").readlink()) == f"runs/{RUN['run-2']}"
    assert pl.read_parquet(tmp_path / "runs" / RUN["run-1"] / "restaurants.parquet")["restaurant_id"].to_list() == ["a"]


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        (pq.ParquetWriter, "write_table"),
        (pq.ParquetWriter, "close"),
        *((durable, one) for one in ("write_json", "write", "sync")),
        (Path, "mkdir"),
    ],
)
def test_a_commit_that_fails_at_any_step_leaves_readers_the_run_before(tmp_path, monkeypatch, owner, step):
    commit(tmp_path, "run-1", tables("a"), {"n": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with results.lock(tmp_path):
        monkeypatch.setattr(owner, step, full)
        with pytest.raises(TryAgain, match="No space left"):
            results.write(tmp_path, RUN["run-2"], [tables("b")], lambda: {"n": 2})
    assert results.committed(tmp_path)[1] == {"n": 1}
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == [RUN["run-1"]]


def test_tables_are_written_part_after_part_and_a_part_may_be_empty(tmp_path):
    with results.lock(tmp_path):
        folder = results.write(tmp_path, RUN["run-1"], [tables(), tables("a", "b"), tables("c")], dict)
    found = pl.read_parquet(folder / "restaurants.parquet")
    assert (found["restaurant_id"].to_list(), dict(found.schema)) == (["a", "b", "c"], RESTAURANTS)


def test_a_pointer_that_cannot_be_written_leaves_readers_the_run_before(tmp_path, monkeypatch):
    commit(tmp_path, "run-1", tables("a"), {"n": 1})

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with results.lock(tmp_path):
        results.write(tmp_path, RUN["run-2"], [tables("b")], lambda: {"n": 2})
        monkeypatch.setattr(durable, "write_json", full)
        with pytest.raises(TryAgain, match="No space left"):
            results.publish(tmp_path, RUN["run-2"])
    assert results.committed(tmp_path)[1] == {"n": 1}


def test_an_output_that_is_removed_under_way_is_try_again_and_publishes_nothing(tmp_path):
    output = tmp_path / "out"
    with results.lock(output):
        shutil.rmtree(output)
        with pytest.raises(TryAgain, match="No such file"):
            results.write(output, RUN["run-1"], [tables("a")], dict)
    assert not (output / "current.json").exists()


def test_leftovers_of_dead_runs_go_and_the_previous_run_stays(tmp_path):
    for number in (1, 2, 3):
        commit(tmp_path, f"run-{number}", tables("a"), {"n": number})
    (tmp_path / "runs" / RUN["run-4"]).mkdir()  # of a run that died while it wrote
    (tmp_path / "runs" / "of a person").mkdir()
    with results.lock(tmp_path):
        left = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert left == [RUN["run-2"], RUN["run-3"], "of a person"]


def test_a_disk_that_is_really_full_is_try_again_and_leaves_nothing(tmp_path):
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, "tests")
from test_results import commit, tables
from pipeline.errors import TryAgain
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
big = tables(*(f"restaurant-{{i}}-{{hash(i * 7919)}}" for i in range(20000)))
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    commit(Path({str(tmp_path)!r}), "run-1", big, {{}})
except TryAgain as error:
    print("again:", error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent)
    assert done.stdout.startswith("again:"), done.stdout + done.stderr
    assert list((tmp_path / "runs").iterdir()) == []


def test_the_manifest_is_written_after_all_tables(tmp_path, monkeypatch):
    there = []
    write = durable.write_json

    def watched(path, *rest, **named):
        there.append((path.name, sorted(p.name for p in path.parent.iterdir())))
        write(path, *rest, **named)

    with results.lock(tmp_path):
        monkeypatch.setattr(durable, "write_json", watched)
        results.write(tmp_path, RUN["run-1"], [tables("a")], dict)
    assert there == [("manifest.json", ["rejects.parquet", "requests.parquet", "restaurants.parquet", "reviews.parquet"])]


def test_empty_results_have_the_full_schema():
    empty = tables()
    assert dict(empty.restaurants.schema) == RESTAURANTS
    assert dict(empty.reviews.schema) == REVIEWS
    assert dict(empty.requests.schema) == REQUESTS


def test_schemas_survive_the_file(tmp_path):
    path = commit(tmp_path, "run-1", tables("a"), {}).parent
    assert dict(pl.read_parquet(path / "restaurants.parquet").schema) == RESTAURANTS


def test_keeping_others_leaves_their_rows_and_replaces_ones_analysed_again():
    merged = tables("b", "c", status="partial").keep_others(tables("a", "b"))
    rows = merged.restaurants.select("restaurant_id", "status", "reused").rows()
    assert rows == [("a", "ok", True), ("b", "partial", False), ("c", "partial", False)]
    assert merged.reviews["review_id"].to_list() == ["a-1", "b-1", "c-1"]
    assert sorted(merged.rejects["restaurant_id"]) == ["a", "b", "c"]
    assert merged.requests["restaurant_id"].to_list() == ["b", "c"]


def test_a_row_carried_over_costs_this_run_nothing():
    before = tables("a", "b")
    before = replace(before, restaurants=before.restaurants.with_columns(prompt_tokens=pl.lit(9, pl.Int64), finished_s=pl.lit(1.0)))
    merged = tables("b").carry_over(before, {"a"})
    assert merged.restaurants.select("restaurant_id", "prompt_tokens", "finished_s", "reused").row(0) == ("a", 0, None, True)


def test_an_output_that_cannot_be_written_is_said_before_anything_is_computed(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadConfiguration, match="choose another --output"), results.lock(tmp_path / "file"):
        pass


def test_a_second_run_is_told_who_holds_the_output(tmp_path):
    with results.lock(tmp_path), pytest.raises(TryAgain, match=f"process {os.getpid()} on "), results.lock(tmp_path):
        pass


def test_an_error_inside_a_run_is_not_taken_for_one_of_its_output(tmp_path):
    with pytest.raises(FileNotFoundError), results.lock(tmp_path):
        raise FileNotFoundError


def test_a_damaged_pointer_is_named(tmp_path):
    (tmp_path / results.CURRENT).write_text(json.dumps({"run": "runs/gone"}))
    with pytest.raises(BadConfiguration, match=r"current\.json"):
        results.committed(tmp_path)
