"""The log for machines: every line an object that names the run, and nothing that a guest or a model wrote."""

import io
import json
from datetime import datetime, timedelta

import polars as pl
import pytest
from test_cli import jobs
from watching import lines, watched

from jobs import analyze as command
from jobs import pace
from jobs.log import Log, numbers
from jobs.shareable import shareable
from pipeline.errors import NoInput, Stopped

MARK = "Zanzibar"
"""Stands in everything that a dump or a model says, and nowhere else."""


@pytest.fixture
def run(tmp_path, model, patched):
    return watched(tmp_path, model, patched, text=lambda request: f'["{MARK} was fine"]' if request.task == "strengths" else f"- {MARK} is")


def events(done):
    return [line["event"] for line in lines(done)]


def test_every_line_is_an_object_with_time_level_run_and_date(run):
    done = run.analyze("--log-format", "json", "--date", "2026-11-20")
    assert done.returncode == 0
    found = lines(done)
    assert {line["run_id"] for line in found} == {run.manifest("out/dt=2026-11-20")["run_id"]}
    assert {line["date"] for line in found} == {"2026-11-20"}
    assert {line["level"] for line in found} == {"info"}
    assert all(line["ts"].endswith("Z") and datetime.fromisoformat(line["ts"]).utcoffset() == timedelta() for line in found)


def test_a_run_is_told_from_its_start_to_its_commit(run):
    done = run.analyze("--log-format", "json")
    told = [event for event in events(done) if event != "stage"]
    assert told == ["started", "read", "loaded", "planned", "committed"]
    by_event = {line["event"]: line for line in lines(done)}
    assert (by_event["read"]["reviews"], by_event["read"]["rejects"], by_event["read"]["restaurants"]) == (9, 1, 3)
    assert by_event["planned"]["restaurants"] == 3
    assert by_event["planned"]["prompt_tokens"] > 0
    assert by_event["committed"]["counts"]["restaurants"] == {"ok": 3}
    assert by_event["committed"]["tokens"]["prompt"] == run.manifest()["tokens"]["prompt"]
    assert set(by_event["committed"]["seconds"]) >= {"read", "load", "generate", "write"}
    assert by_event["committed"]["exit_code"] == 0
    assert done.stdout.splitlines()[-1] == by_event["committed"]["manifest"]


def test_progress_is_told_in_counts(run, monkeypatch):
    monkeypatch.setattr(pace, "EVERY_S", 0)
    found = [line for line in lines(run.analyze("--log-format", "json")) if line["event"] == "progress"]
    assert found
    assert all(line["restaurants"] == 3 and 0 < line["answered_tokens"] <= line["prompt_tokens"] for line in found)
    assert found[-1]["answered_tokens"] > found[0]["answered_tokens"]


def test_nothing_new_is_an_event_that_names_the_results_that_stand(run):
    run.analyze()
    done = run.analyze("--log-format", "json", "--skip-exit-code", "99")
    last = lines(done)[-1]
    assert (done.returncode, last["event"], last["exit_code"]) == (99, "nothing_new", 99)
    assert last["stands"] == run.manifest()["run_id"] != last["run_id"]
    assert "loaded" not in events(done)


def test_a_warning_has_its_own_event_and_level(run):
    (warning,) = [line for line in lines(run.analyze("--log-format", "json", "--urgent", "nowhere")) if line["event"] == "warning"]
    assert warning["level"] == "warning"
    assert "nowhere" in warning["message"]


def test_what_guests_and_models_write_is_never_in_the_log(run, monkeypatch):
    monkeypatch.setattr(pace, "EVERY_S", 0)
    made = [(MARK, f"{MARK}-{i}", f"{MARK} dish {i} was fine.", 4.0, datetime(2026, 1, 1), MARK) for i in range(4)]  # noqa: DTZ001
    for _ in range(2):
        done = run.analyze("--log-format", "json", dump=run.dump([*made, (MARK, MARK, None, None, None, MARK)]))
        assert done.returncode == 0, done.stderr
        assert MARK not in done.stderr
    assert MARK in str(pl.read_parquet(run.folder / "out/current/restaurants.parquet").to_dicts())


def test_the_columns_of_a_dump_without_a_header_are_not_in_the_log(run):
    path = run.folder / "headless.parquet"
    pl.DataFrame({"7": ["8"], f"The soup of {MARK} was cold.": ["5"]}).write_parquet(path)
    text, machine = (run.analyze("--log-format", form, dump=path) for form in ("text", "json"))
    assert text.returncode == machine.returncode == 65
    assert MARK in text.stderr
    assert MARK not in machine.stderr
    assert "--column" in lines(machine)[-1]["message"]


@pytest.mark.parametrize(
    ("arguments", "error", "code"),
    [(["nowhere.parquet"], "NoInput", 66), (["--limit", "0"], "BadParameter", 2), ([], "MissingParameter", 2)],
)
def test_an_error_is_the_last_line_with_its_exit_code(tmp_path, arguments, error, code):
    done = jobs("analyze", "--output", tmp_path / "out", "--log-format", "json", *arguments)
    last = lines(done)[-1]
    assert (last["event"], last["level"], last["error"], last["exit_code"], done.returncode) == ("failed", "error", error, code, code)
    assert last["message"]


def test_an_error_of_a_run_names_the_run_and_the_format_comes_from_the_environment_too(tmp_path):
    done = jobs("analyze", "nowhere.parquet", "--output", tmp_path / "out", REVIEW_DIGEST_ANALYZE_LOG_FORMAT="json")
    assert events(done) == ["started", "stage", "failed"]
    assert len({line["run_id"] for line in lines(done)}) == 1
    assert lines(done)[0]["run_id"]


def test_an_unexpected_error_is_told_by_place_and_not_by_its_words(run, monkeypatch):
    def broken(**_):
        raise ValueError(MARK)

    monkeypatch.setattr(command, "run_analysis", broken)
    done = run.analyze("--log-format", "json")
    last = lines(done)[-1]
    assert (done.returncode, last["error"], last["exit_code"]) == (1, "ValueError", 1)
    assert last["at"][-1].endswith("broken")
    assert MARK not in done.stderr


def test_a_stop_is_told_with_the_signals_exit_code(run, monkeypatch):
    def stopped(**_):
        raise Stopped(15)

    monkeypatch.setattr(command, "run_analysis", stopped)
    done = run.analyze("--log-format", "json")
    assert (done.returncode, lines(done)[-1]["exit_code"]) == (143, 143)


def test_credentials_in_an_address_are_not_in_the_log(run, monkeypatch):
    done = run.analyze("--log-format", "json", dump="s3://me:hush@bucket/x.parquet?X-Amz-Signature=hush")
    assert (done.returncode, events(done)) == (78, ["failed"])
    assert "hush" not in done.stderr
    assert lines(done)[-1]["message"].startswith("s3://bucket/x.parquet?")

    def gone(reviews, progress, **_):
        progress.stage("reading https://me:hush@host/x")
        raise NoInput("https://host/x.parquet?sig=hush: no such file or directory; check the path")

    monkeypatch.setattr(command, "run_analysis", gone)
    done = run.analyze("--log-format", "json")
    assert (done.returncode, events(done)) == (66, ["started", "stage", "failed"])
    assert "hush" not in done.stderr


def test_a_plan_is_told_in_the_same_form(run):
    done = jobs("plan", run.dump(), "--output", run.folder / "out", "--log-format", "json", "--json")
    assert json.loads(done.stdout)["order"] == "restaurant"
    assert set(events(done)) <= {"stage", "warning"}


def test_expanding_queries_is_told_in_queries(run):
    path = run.folder / "queries.parquet"
    pl.DataFrame({"query_id": ["q1", "q2"], "text": ["cheap noodles", MARK]}).write_parquet(path)
    done = jobs("expand-queries", path, "--output", run.folder / "expanded", "--log-format", "json")
    by_event = {line["event"]: line for line in lines(done)}
    assert done.returncode in (0, 3), done.stderr
    assert (by_event["read"]["queries"], by_event["planned"]["queries"]) == (2, 2)
    assert sum(by_event["committed"]["counts"]["queries"].values()) == 2
    assert by_event["committed"]["exit_code"] == done.returncode
    assert MARK not in done.stderr


def test_a_log_that_cannot_be_written_stops_nothing():
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    closed = io.StringIO()
    closed.close()
    for stream in (Full(), closed):
        Log(stream).line("started")


def test_only_numbers_of_a_manifest_are_told():
    assert numbers({"a": 1, "b": MARK, "c": {"d": 2.5, "e": [MARK]}, "f": None}) == {"a": 1, "c": {"d": 2.5}}


def test_what_a_message_quotes_in_brackets_stays_here():
    assert shareable("x.parquet: has no column 'text' (found: a (b), c); add one") == "x.parquet: has no column 'text' (...); add one"
