"""The job as one call from Python: paths or frames in, frames out, the same results as the command's."""

from pathlib import Path

import polars as pl
import pytest
from nights import Machine, assert_equal
from test_analysis import SCHEMA
from test_cli import jobs
from test_incremental import reviews, text_of

import pipeline
from pipeline import api, results
from pipeline.errors import BadConfiguration, BadData, NoInput
from pipeline.reviews import Selection

ROWS = [*reviews(3), *reviews(4, "r1", first=100), ("r1", "broken", None, None, None, None)]
TABLES = ("restaurants", "reviews", "rejects", "requests")


@pytest.fixture
def machines(model, patched, monkeypatch):
    """Those that were made, each with an engine without a model."""
    made = []
    monkeypatch.setattr(api, "local_machine", lambda *given, **named: made.append(Machine(model, text=text_of)) or made[-1])
    return made


@pytest.fixture
def frame():
    return pl.DataFrame(ROWS, schema=SCHEMA, orient="row")


def tables_of(done):
    return {name: getattr(done, name) for name in TABLES}


def without_source(tables):
    return tables | {"rejects": tables["rejects"].drop("source_file").with_columns(source_file=pl.lit(""))}


def test_a_path_a_frame_and_a_lazy_frame_give_equal_results(machines, frame, tmp_path):
    frame.write_parquet(tmp_path / "dump.parquet")
    found = [
        tables_of(pipeline.analyze(given, tmp_path / f"out-{number}"))
        for number, given in enumerate([tmp_path / "dump.parquet", [str(tmp_path / "dump.parquet")], frame, frame.lazy()])
    ]
    assert found[0]["restaurants"]["restaurant_id"].to_list() == ["r0", "r1"]
    assert found[0]["rejects"].height == 1
    for others in found[1:]:
        assert_equal(without_source(others), without_source(found[0]))


def test_the_command_and_the_call_give_equal_results(machines, frame, tmp_path):
    frame.write_parquet(tmp_path / "dump.parquet")
    done = jobs("analyze", tmp_path / "dump.parquet", "--output", tmp_path / "by-command", "--order", "fifo")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "by-command" / "current"
    called = pipeline.analyze(str(tmp_path / "dump.parquet"), str(tmp_path / "by-call"), order="fifo")
    assert_equal(tables_of(called), {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES})
    assert {path.name for path in tmp_path.iterdir()} >= {"by-command.store", "by-call.store"}  # answers are kept unless told otherwise


def test_the_same_frame_once_more_asks_nothing(machines, frame, tmp_path):
    first = pipeline.analyze(frame, tmp_path / "out")
    again = pipeline.analyze(frame.lazy(), tmp_path / "out")
    assert (first.nothing_new, again.nothing_new) == (False, True)
    assert again.folder == first.folder
    assert machines[-1].loaded == 0


def test_options_of_a_job_are_those_of_the_call(machines, frame, tmp_path):
    done = pipeline.analyze(frame, tmp_path / "out", tasks=("sentiment",), selection=Selection(restaurants=("r1",)), store=None)
    assert done.restaurants["restaurant_id"].to_list() == ["r1"]
    assert done.manifest["tasks"] == ["sentiment"]
    assert set(done.requests["task"]) == {"sentiment"}
    assert not list(tmp_path.glob("*.store"))


def test_nothing_is_left_of_a_frame_that_cannot_be_used(machines, frame, tmp_path):
    with pytest.raises(BadData, match="text"):
        pipeline.analyze(frame.drop("text"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("**/*.parquet"))


def test_an_unknown_order_names_those_there_are(machines, frame, tmp_path):
    with pytest.raises(BadConfiguration, match="fifo"):
        pipeline.analyze(frame, tmp_path / "out", order="lifo")


def test_a_run_has_the_name_that_it_is_given(machines, frame, tmp_path):
    name = results.new_run_id()
    assert pipeline.analyze(frame, tmp_path / "out", run_id=name).folder.name == name
    assert results.committed(tmp_path / "out")[1]["run_id"] == name


@pytest.mark.parametrize("name", ["nightly", "../../elsewhere"])
def test_a_name_by_which_no_leftover_would_be_known_is_refused(machines, frame, tmp_path, name):
    with pytest.raises(BadConfiguration, match="new_run_id"):
        pipeline.analyze(frame, tmp_path / "out", run_id=name)


def test_a_name_that_is_taken_is_refused_and_its_run_stays(machines, frame, tmp_path):
    done = pipeline.analyze(frame, tmp_path / "out")
    before = sorted(path.name for path in done.folder.iterdir())
    with pytest.raises(BadConfiguration, match="already"):
        pipeline.analyze(frame.head(3), tmp_path / "out", run_id=done.manifest["run_id"])
    assert sorted(path.name for path in done.folder.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [{"tasks": ("sentimnt",)}, {"tasks": ()}, {"max_reviews": 0}, {"output": Path("s3://bucket/out")}],
    ids=["unknown", "none", "no reviews", "a path"],
)
def test_what_the_command_refuses_the_call_refuses(machines, frame, tmp_path, options):
    with pytest.raises(BadConfiguration):
        pipeline.analyze(frame, **{"output": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_no_input_at_all_is_no_empty_result(machines, frame, tmp_path):
    first = pipeline.analyze(frame, tmp_path / "out")
    with pytest.raises(NoInput):
        pipeline.analyze([], tmp_path / "out")
    assert results.committed(tmp_path / "out")[0] == first.folder


def test_tasks_in_any_order_are_the_same_run(machines, frame, tmp_path):
    pipeline.analyze(frame, tmp_path / "out", tasks=("sentiment", "summary"))
    assert pipeline.analyze(frame, tmp_path / "out", tasks=("summary", "sentiment")).nothing_new


def test_the_name_of_the_output_says_nothing_of_a_frames_rows(machines, frame, tmp_path):
    plain = tables_of(pipeline.analyze(frame, tmp_path / "out", columns={"created_at": "created_at"}))
    for name in ("dt=2020-01-01", "area=elsewhere", "restaurant_id=7", "created_at=2020-01-01"):
        assert_equal(without_source(tables_of(pipeline.analyze(frame, tmp_path / name / "out"))), without_source(plain))


def test_shards_of_a_frame_and_their_merge_give_what_one_call_gives(machines, frame, tmp_path):
    for index in (1, 2):
        pipeline.analyze(frame, tmp_path / "out", shard=pipeline.Shard(index, 2))
    merged = pipeline.analyze(frame, tmp_path / "out", merge=2)
    assert_equal(without_source(tables_of(merged)), without_source(tables_of(pipeline.analyze(frame, tmp_path / "one"))))
