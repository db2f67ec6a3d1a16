"""Airflow on a database and a folder of its own, without scheduler or server: runs are those of `dag.test()`."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
DAGS = ROOT / "jobs/dags"
DAY = "2025-02-21"
STUB = """#!/bin/sh
printf '%s\\n' "$@" > {folder}/arguments
env > {folder}/environment
exit $(cat {folder}/exit-code)
"""
"""What stands for the job: writes down how it was called, and ends as it is told."""


def pytest_configure(config: pytest.Config) -> None:
    """Before anything imports Airflow, which reads its settings then."""
    home = Path(tempfile.mkdtemp(prefix="airflow-"))
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    os.environ.update(
        AIRFLOW_HOME=str(home),
        AIRFLOW__CORE__DAGS_FOLDER=str(DAGS),
        AIRFLOW__CORE__LOAD_EXAMPLES="false",
        AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{home}/airflow.db",
        AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="false",
    )
    sys.path.append(str(DAGS))


@pytest.fixture(scope="session", autouse=True)
def _database() -> None:
    subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, capture_output=True)


@pytest.fixture(scope="session")
def daily() -> Any:
    """The DAG of every day, without retries: `dag.test()` would wait for them."""
    from daily_reviews import daily

    return without_retries(daily)


@pytest.fixture(scope="session")
def past() -> Any:
    """The DAG of days of the past, without retries."""
    from daily_reviews import past

    return without_retries(past)


def without_retries(dag: Any) -> Any:
    for task in dag.tasks:
        task.retries = 0
    return dag


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Place":
    """An installation with a stub for the job."""
    found = Place(tmp_path)
    for name, value in found.variables.items():
        monkeypatch.setenv(f"AIRFLOW_VAR_REVIEW_DIGEST_{name.upper()}", value)
    return found


class Place:
    """Where the stub's results lie, and how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self.stub = folder / "review-digest"
        self.stub.write_text(STUB.format(folder=folder))
        self.stub.chmod(0o755)
        self.exits(0)
        self.variables = {"command": str(self.stub), "input": "/the dumps/*.parquet", "output": str(self.results), "options": "--limit 5"}

    def exits(self, code: int) -> None:
        (self.folder / "exit-code").write_text(str(code))

    def commit(self, day: str = DAY, missing: int = 0, selected: int = 100, run_id: str = "20250222T000500Z-abcdef") -> None:
        run = self.results / f"dt={day}/runs/{run_id}"
        run.mkdir(parents=True)
        manifest = {"run_id": run_id, "counts": {"restaurants": {"ok": selected - missing}, "missing": missing, "selected": selected}}
        (run / "manifest.json").write_text(json.dumps(manifest))
        (run.parent.parent / "current.json").write_text(json.dumps({"run": f"runs/{run_id}"}))

    @property
    def arguments(self) -> list[str]:
        return (self.folder / "arguments").read_text().splitlines()

    @property
    def environment(self) -> Mapping[str, str]:
        return dict(line.split("=", 1) for line in (self.folder / "environment").read_text().splitlines() if "=" in line)


def states(run: Any) -> dict[str, str]:
    """How each task of a run ended; of a mapped one with its number."""
    ended = run.get_task_instances()
    return {f"{one.task_id}{'' if one.map_index < 0 else f'[{one.map_index}]'}": str(one.state) for one in ended}


def events(run: Any) -> list[Mapping[str, Any]]:
    """What this run told those who wait for the asset."""
    from airflow.models.asset import AssetEvent
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        mine = select(AssetEvent).where(AssetEvent.source_dag_id == run.dag_id, AssetEvent.source_run_id == run.run_id)
        return [event.extra for event in session.scalars(mine.order_by(AssetEvent.id))]
