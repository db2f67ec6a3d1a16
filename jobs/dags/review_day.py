"""What the DAGs in this folder share: the places of this installation, the day of a run, the check of what it committed. For Airflow 3."""

from __future__ import annotations

import json
import os
from typing import Any

import pendulum
from airflow.sdk import Asset, ObjectStoragePath, task
from airflow.sdk.exceptions import AirflowFailException


def variable(name: str, default: str) -> str:
    """A template of the Airflow Variable `review_digest_NAME`: looked up when a task runs, not whenever this file is read."""
    return f"{{{{ var.value.get('review_digest_{name}', {default!r}) }}}}"


# This installation, as Airflow Variables (`airflow variables set review_digest_input /data/reviews`, or in the environment
# AIRFLOW_VAR_REVIEW_DIGEST_INPUT=...):
COMMAND = variable("command", "/opt/review-digest/.venv/bin/review-digest")  # in the job's own environment, not Airflow's
INPUT = variable("input", "/data/reviews")  # a file, folder, glob or object-store URI
OUTPUT = variable("output", "/data/results")  # one folder dt=DAY for each day; every worker sees it under this name
OPTIONS = variable("options", "")  # more of `analyze`, e.g. --model some/model --chunk-tokens 4096
MAX_FAILED = variable("max_failed", "1%")  # restaurants (or a share) that may be missing before the day has failed
# What has to be known while Airflow reads this file, from its environment:
TIMEZONE = os.environ.get("REVIEW_DIGEST_TIMEZONE", "UTC")  # whose midnight ends a day
POOL = os.environ.get("REVIEW_DIGEST_POOL", "gpu")  # `airflow pools set gpu 1 "one slot per GPU"`

DIGESTS = Asset("restaurant_digests")
"""A day's results that have passed the check. The event's extra: day, run_id, manifest, counts."""
START = pendulum.datetime(2000, 1, 1, tz=TIMEZONE)
"""Airflow makes no tasks for days before it, and nothing of the past by itself (`catchup=False`)."""


def _interval(dag_run: Any) -> tuple[pendulum.DateTime, pendulum.DateTime]:
    """A run that was triggered without a logical date has no interval; like one triggered with it, it takes the last day that is over."""
    if dag_run.data_interval_end is None:
        end = pendulum.instance(dag_run.run_after).in_timezone(TIMEZONE).start_of("day")
        return end.subtract(days=1), end
    start, end = (pendulum.instance(moment).in_timezone(TIMEZONE) for moment in (dag_run.data_interval_start, dag_run.data_interval_end))
    return start, end


def day_of(dag_run: Any) -> str:
    """`ds` of a scheduled run, by the calendar of TIMEZONE. Not `ds` itself: that is UTC's day, and for a run triggered by hand the day of
    the trigger, so that the same reviews would fill another folder than the scheduled run's."""
    return _interval(dag_run)[0].to_date_string()


def end_of(dag_run: Any) -> str:
    """`data_interval_end`, in ISO as `--until` reads it."""
    return _interval(dag_run)[1].isoformat()


MACROS = {"day_of": day_of, "end_of": end_of}


@task
def days(params: dict[str, Any]) -> list[dict[str, str]]:
    """Day and end of each from `first_day` to `last_day`, the latest first: what a reader asks for is mostly recent."""
    first, last = (pendulum.parse(params[name], tz=TIMEZONE) for name in ("first_day", "last_day"))
    if last >= pendulum.today(TIMEZONE):
        raise AirflowFailException(f"last_day {params['last_day']} is not over; daily_reviews will see to it")
    found = [first.add(days=number) for number in range((last - first).days + 1)] if first <= last else []
    return [{"day": day.to_date_string(), "until": day.add(days=1).isoformat()} for day in reversed(found)]


@task(outlets=[DIGESTS], trigger_rule="none_failed", retries=2, map_index_template="{{ task.op_kwargs['day'] }}")
def check(day: str, output: str, max_failed: str, outlet_events: Any = None) -> str:
    """Fails the day where the committed run lacks more restaurants than `max_failed` (a number or a share like 1%), else tells those who
    wait for the asset. Also after a skipped analysis: a worker may have died between the commit and its end, and the retry then finds
    nothing to do. So an event may come twice; `run_id` tells."""
    results = ObjectStoragePath(output) / f"dt={day}"
    path = results / json.loads((results / "current.json").read_text())["run"] / "manifest.json"
    manifest = json.loads(path.read_text())
    missing, total = manifest["counts"]["missing"], manifest["counts"]["selected"]
    limit = float(max_failed.removesuffix("%")) * (total / 100 if max_failed.endswith("%") else 1)
    if missing > limit:
        raise AirflowFailException(f"{day}: {missing} of {total} restaurants failed or stayed pending, {max_failed} may; see {path}")
    outlet_events[DIGESTS].extra = {"day": day, "run_id": manifest["run_id"], "manifest": str(path), "counts": manifest["counts"]}
    return str(path)
