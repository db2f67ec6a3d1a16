"""A Ray cluster of two nodes on this machine, a core each, and runs of made-up reviews on it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_analysis import SCHEMA
from troubled_machine import TroubledMachine, answers, troubled

from pipeline.analysis import Committed, analyze
from pipeline.job import Job, Silent
from pipeline.order import ORDERS
from pipeline.scale.cluster import Cluster
from pipeline.scale.machine import ManyWorkers

HERE = Path(__file__).parent
TABLES = ("restaurants", "reviews", "rejects", "requests")


@pytest.fixture(scope="session")
def ray_home() -> Iterator[None]:
    """Ray's own variables; its workers find the modules of these tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parent.parent)]))
        yield


@pytest.fixture
def nodes(ray_home: None) -> Iterator[Any]:
    """The cluster; workers of two CPUs each would not fit on one of its nodes."""
    from ray.cluster_utils import Cluster as Nodes

    nodes = Nodes(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes.two = [nodes.add_node(num_cpus=1) for _ in range(2)]
    yield nodes
    import ray

    ray.shutdown()
    nodes.shutdown()


@dataclass
class Lab:
    """Runs in one folder. `asked`: where engines write down what they have answered."""

    folder: Path
    machine: TroubledMachine
    said: list[str]

    @property
    def asked(self) -> Path:
        return self.machine.asked

    def dump(self, rows: list[tuple[Any, ...]]) -> Path:
        path = self.folder / "dump.parquet"
        pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(path)
        return path

    def job(self, output: str = "out", **job: Any) -> Job:
        return Job([str(self.folder / "dump.parquet")], self.folder / output, **{"store": self.folder / "store", **job})

    def alone(self, output: str = "alone", **job: Any) -> Committed:
        """One run in this process."""
        made = self.job(output, **{"store": self.folder / f"{output}.store", **job})
        return analyze(
            made, ORDERS["restaurant"], replace(self.machine, asked=self.folder / f"{output}.asked", tokens=[], made=[]), Silent()
        )

    def on(self, nodes: Any, stop: Any = None, output: str = "out", cluster: Cluster | None = None, **job: Any) -> Committed:
        """One run on the cluster, this process its driver."""
        made = self.job(output, **job)
        cluster = cluster or Cluster(nodes.address, 2, 0, 1)
        with cluster.joined() as room:
            many = ManyWorkers(self.machine, self.machine, room, made, "restaurant", self.said.append)
            try:
                return analyze(made, ORDERS["restaurant"], many, Silent(), stop)
            finally:
                many.close()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    (tmp_path / "alone.asked").mkdir()
    return Lab(tmp_path, troubled(tmp_path / "asked"), [])
