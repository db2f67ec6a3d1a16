"""What Airflow makes of a day: how the job is called, what its exit codes lead to, when a day has failed, who hears of its results."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from conftest import DAGS, DAY, events, states

BY_HAND = datetime(2025, 2, 22, 5, 30, tzinfo=UTC)
"""The last day that was over then is DAY."""
CALLED = ["analyze", "/the dumps/*.parquet", "--output", "RESULTS", "--date", DAY, "--until", "2025-02-22T00:00:00+00:00"]
ALWAYS = ["--max-failed", "100%", "--skip-exit-code", "99"]


def test_airflow_reads_the_folder_without_an_error():
    from airflow.dag_processing.dagbag import BundleDagBag

    bag = BundleDagBag(dag_folder=DAGS, bundle_path=DAGS, bundle_name="dags-folder")
    assert bag.import_errors == {}
    assert set(bag.dags) == {"daily_reviews", "past_reviews", "daily_reviews_kubernetes"}
    assert {dag.get_task(dag.leaves[0].task_id.replace("check", "analyze")).retries for dag in bag.dags.values()} == {3}


def test_a_scheduled_run_is_named_by_its_logical_date_and_ends_with_its_interval(daily):
    from airflow.serialization.encoders import coerce_to_core_timetable
    from airflow.timetables.base import DataInterval, TimeRestriction
    from review_day import day_of, end_of

    timetable = coerce_to_core_timetable(daily.timetable)
    before = DataInterval(datetime(2025, 2, 20, tzinfo=UTC), datetime(2025, 2, 21, tzinfo=UTC))
    scheduled = timetable.next_dagrun_info(last_automated_data_interval=before, restriction=TimeRestriction(None, None, True))
    run = SimpleNamespace(data_interval_start=scheduled.data_interval.start, data_interval_end=scheduled.data_interval.end)
    assert (day_of(run), end_of(run)) == (f"{scheduled.logical_date:%Y-%m-%d}", scheduled.data_interval.end.isoformat())
    assert (day_of(run), end_of(run)) == (DAY, "2025-02-22T00:00:00+00:00")


def test_a_run_started_by_hand_is_that_of_the_last_day_that_is_over(daily, place):
    place.commit()
    assert states(daily.test(logical_date=BY_HAND)) == {"analyze": "success", "check": "success"}
    assert place.arguments == [str(place.results) if word == "RESULTS" else word for word in CALLED] + [*ALWAYS, "--limit", "5"]


def test_also_where_it_was_given_no_logical_date(daily, place):
    place.commit()
    daily.test(logical_date=None, run_after=BY_HAND)
    assert place.arguments[5] == "2025-02-21"
    assert place.arguments[7] == "2025-02-22T00:00:00+00:00"


def test_a_day_is_that_of_the_time_zone_which_the_installation_names(monkeypatch):
    import review_day

    monkeypatch.setattr(review_day, "TIMEZONE", "Asia/Seoul")
    midnight = datetime(2025, 2, 20, 15, tzinfo=UTC)
    run = SimpleNamespace(data_interval_start=midnight, data_interval_end=midnight + timedelta(days=1))
    assert (review_day.day_of(run), review_day.end_of(run)) == (DAY, "2025-02-22T00:00:00+09:00")
    by_hand = SimpleNamespace(data_interval_start=None, data_interval_end=None, run_after=midnight + timedelta(days=1, hours=9))
    assert (review_day.day_of(by_hand), review_day.end_of(by_hand)) == (DAY, "2025-02-22T00:00:00+09:00")


def test_the_job_gets_the_environment_of_the_worker_but_not_airflows_python(daily, place, monkeypatch):
    place.commit()
    monkeypatch.setenv("REVIEW_DIGEST_ANALYZE_ORDER", "fifo")
    monkeypatch.setenv("PYTHONPATH", "/airflow/plugins")
    daily.test(logical_date=BY_HAND)
    assert place.environment["REVIEW_DIGEST_ANALYZE_ORDER"] == "fifo"
    assert place.environment["PYTHONPATH"] == ""
    assert place.environment["AIRFLOW_CTX_DAG_ID"] == "daily_reviews"


def test_those_who_wait_for_the_results_are_told_the_counts(daily, place):
    place.commit(missing=1)
    run = daily.test(logical_date=BY_HAND)
    manifest = place.results / "dt=2025-02-21/runs/20250222T000500Z-abcdef/manifest.json"
    counts = {"restaurants": {"ok": 99}, "missing": 1, "selected": 100}
    assert events(run) == [{"day": DAY, "run_id": "20250222T000500Z-abcdef", "manifest": str(manifest), "counts": counts}]


def test_nothing_to_do_is_skipped_and_the_day_is_checked_and_told_all_the_same(daily, place):
    place.commit()
    place.exits(99)
    run = daily.test(logical_date=BY_HAND)
    assert states(run) == {"analyze": "skipped", "check": "success"}
    assert str(run.state) == "success"
    assert len(events(run)) == 1


@pytest.mark.parametrize(
    ("missing", "allowed", "ended"),
    [(1, "1%", "success"), (2, "1%", "failed"), (0, "0", "success"), (1, "0", "failed"), (7, "7", "success"), (8, "7", "failed")],
)
@pytest.mark.parametrize("code", [0, 99])
def test_a_day_fails_where_more_restaurants_are_missing_than_may_and_nobody_is_told(
    daily, place, monkeypatch, missing, allowed, ended, code
):
    monkeypatch.setenv("AIRFLOW_VAR_REVIEW_DIGEST_MAX_FAILED", allowed)
    place.commit(missing=missing)
    place.exits(code)
    run = daily.test(logical_date=BY_HAND)
    assert (states(run)["check"], str(run.state)) == (ended, ended)
    assert len(events(run)) == (ended == "success")


@pytest.mark.parametrize("code", [1, 2, 65, 66, 75, 78, 143])
def test_every_other_exit_code_fails_the_analysis_and_yesterdays_results_are_not_told_as_new(daily, place, code):
    place.commit()
    place.exits(code)
    run = daily.test(logical_date=BY_HAND)
    assert states(run) == {"analyze": "failed", "check": "upstream_failed"}
    assert str(run.state) == "failed"
    assert events(run) == []


def test_an_analysis_that_fails_is_tried_again(daily, place, monkeypatch):
    place.commit()
    place.stub.write_text(f"#!/bin/sh\n[ -e {place.folder}/tried ] || {{ touch {place.folder}/tried; exit 75; }}\n")
    monkeypatch.setattr(daily.get_task("analyze"), "retries", 1)
    monkeypatch.setattr(daily.get_task("analyze"), "retry_delay", timedelta(0))
    run = daily.test(logical_date=BY_HAND)
    assert states(run) == {"analyze": "success", "check": "success"}
    assert {one.try_number for one in run.get_task_instances() if one.task_id == "analyze"} == {2}


def test_a_run_that_takes_too_long_is_asked_to_stop(daily, place, monkeypatch):
    place.stub.write_text(f"#!/bin/sh\ntrap 'touch {place.folder}/stopped; exit 143' TERM\nsleep 60 & wait\n")
    monkeypatch.setattr(daily.get_task("analyze"), "execution_timeout", timedelta(seconds=1))
    assert states(daily.test(logical_date=BY_HAND))["analyze"] == "failed"
    assert (place.folder / "stopped").exists()


def test_days_of_the_past_are_analysed_one_by_one_the_latest_first(past, place):
    for day in ("2025-02-20", DAY):
        place.commit(day)
    run = past.test(logical_date=None, run_conf={"first_day": "2025-02-20", "last_day": DAY})
    ended = {f"of_day.{task}[{number}]": "success" for task in ("analyze", "check") for number in (0, 1)}
    assert states(run) == {"days": "success", **ended}
    assert {event["day"] for event in events(run)} == {"2025-02-20", DAY}
    (days,) = [one.xcom_pull(task_ids="days") for one in run.get_task_instances() if one.task_id == "days"]
    assert days == [
        {"day": DAY, "until": "2025-02-22T00:00:00+00:00"},
        {"day": "2025-02-20", "until": "2025-02-21T00:00:00+00:00"},
    ]


def test_a_day_that_is_not_over_is_no_day_of_the_past(past, place):
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert states(past.test(logical_date=None, run_conf={"first_day": DAY, "last_day": today}))["days"] == "failed"


def test_one_run_has_the_gpu_and_tonights_goes_before_those_of_the_past(daily, past):
    tonight, earlier = daily.get_task("analyze"), past.get_task("of_day.analyze")
    assert tonight.pool == earlier.pool == "gpu"
    assert tonight.weight_rule == earlier.weight_rule == "absolute"
    assert tonight.priority_weight > earlier.priority_weight
    assert daily.get_task("check").pool == past.get_task("of_day.check").pool == "default_pool"
    assert daily.max_active_runs == past.max_active_runs == 1
    assert not daily.catchup
