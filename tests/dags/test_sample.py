"""The DAG on the sample with the embedded model, in the job's own environment: two days, one of them again, and one with a bad dump."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import ROOT, events, states

FIRST, SECOND = "2025-02-21", "2025-02-22"
"""Days of the sample with few reviews before them, and one new review on the second."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sample")


@pytest.fixture(scope="module")
def run(folder, daily):
    """Runs the DAG for a day, as one would by hand in the night after it; gives how its tasks ended and what it told."""

    def of(day: str, dump: Path = ROOT / "data/sample/reviews.parquet"):
        variables = {"command": ROOT / ".venv/bin/review-digest", "input": dump, "output": folder / "results", "options": "--device cpu"}
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"AIRFLOW_VAR_REVIEW_DIGEST_{name.upper()}", str(value))
            ended = daily.test(logical_date=datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1, hours=1))
        return states(ended), events(ended)

    return of


@pytest.fixture(scope="module")
def days(run):
    """Both days, one after the other."""
    return {day: run(day) for day in (FIRST, SECOND)}


def committed(folder: Path, day: str) -> dict[str, bytes]:
    """All that readers of a day see."""
    results = folder / f"results/dt={day}"
    seen = [results / "current.json", *(path for path in results.glob("runs/**/*") if path.is_file())]
    return {str(path.relative_to(results)): path.read_bytes() for path in seen}


def manifest(folder: Path, day: str) -> dict:
    return json.loads((folder / f"results/dt={day}/current/manifest.json").read_text())


def test_two_days_are_committed_and_the_second_asks_only_about_what_is_new(folder, days):
    for day, (ended, (told,)) in days.items():
        assert ended == {"analyze": "success", "check": "success"}
        found = manifest(folder, day)
        assert (told["day"], told["run_id"], told["counts"]) == (day, found["run_id"], found["counts"])
        assert found["counts"]["missing"] == 0
    first, second = manifest(folder, FIRST)["counts"], manifest(folder, SECOND)["counts"]
    assert second["reviews"] == first["reviews"] + 1
    assert second["carried_over"] > 0
    assert second["requests"] - second["answers_reused"] < first["requests"] - first["answers_reused"]


def test_the_same_day_again_reuses_everything_and_is_skipped(folder, days, run):
    before = committed(folder, SECOND)
    ended, (told,) = run(SECOND)
    assert ended == {"analyze": "skipped", "check": "success"}
    assert told["run_id"] == manifest(folder, SECOND)["run_id"]
    assert committed(folder, SECOND) == before


def test_a_bad_dump_fails_the_day_and_leaves_its_results_as_they_are(folder, days, run, tmp_path):
    before = committed(folder, SECOND)
    (tmp_path / "reviews.parquet").write_text("no parquet at all")
    ended, told = run(SECOND, tmp_path / "reviews.parquet")
    assert ended == {"analyze": "failed", "check": "upstream_failed"}
    assert told == []
    assert before
    assert committed(folder, SECOND) == before
