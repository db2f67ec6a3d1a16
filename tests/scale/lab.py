"""Runs of made-up reviews in one folder: alone, or on a Ray cluster with this process, or one of its own, as their driver."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
from test_analysis import SCHEMA
from troubled_machine import TroubledMachine, troubled

from pipeline.analysis import Committed, analyze
from pipeline.job import Job, Silent
from pipeline.order import ORDERS
from pipeline.scale import answers
from pipeline.scale.cluster import Cluster
from pipeline.scale.machine import ManyWorkers

ROOT = Path(__file__).parent.parent.parent


@dataclass
class Lab:
    """`machine.asked`: where engines write down what they have answered. `said`: warnings."""

    folder: Path
    machine: TroubledMachine
    said: list[str] = field(default_factory=list)

    @property
    def asked(self) -> Path:
        return self.machine.asked

    @property
    def asked_alone(self) -> Path:
        return self.folder / "alone.asked"

    def dump(self, rows: list[tuple[Any, ...]]) -> Path:
        path = self.folder / "dump.parquet"
        pl.DataFrame(rows, schema=SCHEMA, orient="row").write_parquet(path)
        return path

    def job(self, output: str, **job: Any) -> Job:
        return Job([str(self.folder / "dump.parquet")], self.folder / output, **{"store": self.folder / f"{output}.store", **job})

    def alone(self, **job: Any) -> Committed:
        """One run in this process."""
        self.asked_alone.mkdir(exist_ok=True)
        machine = replace(self.machine, asked=self.asked_alone, tokens=[], made=[], step_s=0.0, together=0)
        return analyze(self.job("alone", **job), ORDERS["restaurant"], machine, Silent())

    def on(self, address: str, stop: Any = None, cluster: Cluster | None = None, **job: Any) -> Committed:
        """One run on the cluster, this process its driver."""
        made = self.job("out", **job)
        with (cluster or Cluster(address, 2, 0, 1)).joined() as room:
            many = ManyWorkers(self.machine, self.machine, room, made, "restaurant", self.said.append)
            try:
                return analyze(made, ORDERS["restaurant"], many, Silent(), stop)
            finally:
                many.close()

    def drive(self, address: str) -> subprocess.Popen[bytes]:
        """The same with a driver in a process of its own."""
        command = [sys.executable, __file__, address, str(self.folder), str(self.machine.step_s)]
        return subprocess.Popen(command, start_new_session=True, env=os.environ)


if __name__ == "__main__":
    answers.LEAST_S = 0.0
    there = Path(sys.argv[2])
    Lab(there, troubled(there / "asked", step_s=float(sys.argv[3]))).on(sys.argv[1])
