"""Runs of one dump in one folder: alone, or on a Ray cluster with this process, or one of its own, as their driver."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from test_analysis import SCHEMA
from troubled_machine import TroubledMachine
from written_down import WritingMachine, answers, last_answered

from pipeline.analysis import Committed, analyze
from pipeline.job import Job, Silent, Stop
from pipeline.order import ORDERS
from pipeline.runtime import Runtime
from pipeline.scale import answers as answering
from pipeline.scale.cluster import Cluster
from pipeline.scale.machine import ManyWorkers
from pipeline.stored import Begun, StoredAnswers

ROOT = Path(__file__).parent.parent.parent
UNWRITTEN_S = 5.0
"""Answers are written every second, on a machine with as many busy engines as cores."""


@dataclass
class Lab:
    """`machine.asked`: where engines write down what they have answered. `said`: warnings."""

    folder: Path
    machine: TroubledMachine | WritingMachine
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
        """One run in this process, nothing in its way."""
        self.asked_alone.mkdir(exist_ok=True)
        untroubled = {"tokens": [], "made": [], "step_s": 0.0, "together": 0} if isinstance(self.machine, TroubledMachine) else {}
        machine = replace(self.machine, asked=self.asked_alone, **untroubled)
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
        kept = self.folder / "lab.pickle"
        kept.write_bytes(pickle.dumps(self))
        command = [sys.executable, __file__, address, str(kept), str(answering.LEAST_S)]
        return subprocess.Popen(command, start_new_session=True, env=os.environ)


class Then(Stop):
    """Does something once the engines have given so many answers; a thread, since a run looks up only now and then. `answered`: until
    then, None while it has not come to that."""

    def __init__(self, lab: Lab, number: int, act: Callable[[], object], kind: str = "asked") -> None:
        self._lab, self._number, self._act, self._kind = lab, number, act, kind
        self.answered: Counter[str] | None = None
        threading.Thread(target=self._wait, daemon=True).start()

    def _wait(self) -> None:
        while sum(answers(self._lab.asked, self._kind).values()) < self._number:
            time.sleep(0.02)
        self.answered = answers(self._lab.asked, self._kind)
        self._act()


class Kill(Then):
    """Kills something then. `stored` right after it: what nobody has to ask again; `lost`: seconds before it in which what was not yet
    stored was answered."""

    def __init__(self, lab: Lab, number: int, kill: Callable[[], object]) -> None:
        self._kill, self._run = kill, Begun(-1, datetime.now(UTC))
        super().__init__(lab, number, self._act_now)

    def _act_now(self) -> None:
        at = time.time()
        self._kill()
        given = last_answered(self._lab.asked)
        kept = StoredAnswers(self._lab.folder / "out.store", Runtime(self._lab.machine).identity, fresh=self._run).find(list(given))
        self.stored = {answer.key for answer in kept}
        self._taken = answers(self._lab.asked, "taken")
        self.lost = [at - second for key, second in given.items() if key not in self.stored]

    def check(self, done: Committed) -> None:
        """Only what was inside an engine, or answered and not yet written, was asked again."""
        assert self.answered, "nothing was killed"
        assert self.stored
        assert max(self.lost, default=0.0) < UNWRITTEN_S
        again = self.stored & set(answers(self._lab.asked, "taken") - self._taken) - shared(done)
        assert not again, len(again)


def shared(done: Committed) -> set[str]:
    """Questions of more than one restaurant, which each worker may ask once."""
    requests = pl.read_parquet(done.folder / "requests.parquet")
    return set(requests.filter(pl.col("key").is_duplicated())["key"])


def busiest(lab: Lab, kind: str = "asked") -> int:
    """Process of the worker that has answered most."""
    return int(max(lab.asked.glob(f"*.{kind}"), key=lambda file: len(file.read_text())).stem)


if __name__ == "__main__":
    answering.LEAST_S = float(sys.argv[3])
    pickle.loads(Path(sys.argv[2]).read_bytes()).on(sys.argv[1])
