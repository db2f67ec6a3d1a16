"""Every day's reviews, as Airflow DAGs: `daily_reviews` after midnight, `past_reviews` for days of the past, behind it in the queue.

A day is a folder `dt=DAY` below the output, made from all reviews before that day's end; what has not changed since another day is carried
over. The places are Airflow Variables, see `review_day.py`. The pool has one slot for each GPU; where one machine has several, give each
its own worker with its own CUDA_VISIBLE_DEVICES.

Exit codes: 99 (nothing to do) is a skipped task; every other one is tried again, since most that goes wrong at night is a dump that comes
late (66), is still being written (65, 75), or a full disk (75), and a run goes on where the last one ended. Exit code 3 does not come:
`--max-failed 100%` leaves it to the task `check` whether too many restaurants are missing.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, CronDataIntervalTimetable, Param, task_group

sys.path.append(str(Path(__file__).resolve().parent))  # wherever Airflow finds this folder
from review_day import COMMAND, INPUT, MACROS, MAX_FAILED, OPTIONS, OUTPUT, POOL, START, TIMEZONE, check, days

TONIGHT, PAST = 100, 1
"""Priority weights. Without them Airflow would start the older day first where both wait for the pool."""


def analyze_and_check(day: Any, until: Any, priority_weight: int) -> None:
    """The two tasks of one day."""
    analyze = BashOperator(
        task_id="analyze",
        # `exec`: a stop reaches the job itself, which keeps its answers. `set -f`: a glob is the job's to expand.
        bash_command='set -f; exec "$DIGEST" analyze "$INPUT" --output "$OUTPUT" --date "$DAY" --until "$UNTIL" '
        "--max-failed 100% --skip-exit-code 99 $OPTIONS",
        # The worker's environment and this. PYTHONPATH: what it means for Airflow must not reach the job's own Python.
        env={"DIGEST": COMMAND, "INPUT": INPUT, "OUTPUT": OUTPUT, "DAY": day, "UNTIL": until, "OPTIONS": OPTIONS, "PYTHONPATH": ""},
        append_env=True,
        skip_on_exit_code=99,
        pool=POOL,
        priority_weight=priority_weight,
        weight_rule="absolute",
        retries=3,
        retry_delay=timedelta(minutes=10),
        execution_timeout=timedelta(hours=20),
        map_index_template="{{ task.env['DAY'] }}",
    )
    analyze >> check(day=day, output=OUTPUT, max_failed=MAX_FAILED)


with DAG(
    "daily_reviews",
    # With intervals: a day's reviews are those before its end. Where Airflow makes a timetable of a bare cron text, the interval is empty.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=TIMEZONE),
    start_date=START,
    catchup=False,
    max_active_runs=1,
    user_defined_macros=MACROS,
    doc_md=__doc__,
    tags=["reviews"],
) as daily:
    analyze_and_check("{{ day_of(dag_run) }}", "{{ end_of(dag_run) }}", TONIGHT)


# Not `airflow backfill create --dag-id daily_reviews`: its runs have the weight of tonight's and an older date, so they would go first.
with DAG(
    "past_reviews",
    schedule=None,
    start_date=START,
    max_active_runs=1,
    params={
        "first_day": Param(type="string", format="date", title="First day"),
        "last_day": Param(type="string", format="date", title="Last day", description="At most 1,024 days at once."),
    },
    doc_md=__doc__,
    tags=["reviews"],
) as past:

    @task_group
    def of_day(day: str, until: str) -> None:
        analyze_and_check(day, until, PAST)

    of_day.expand_kwargs(days())
