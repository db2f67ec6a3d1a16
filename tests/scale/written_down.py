"""An engine that writes down what it is asked and what it has answered, in files that outlive its process."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine import Engine
from pipeline.machine import LocalMachine
from pipeline.models import Model
from pipeline.records import Answer, Request
from pipeline.steps import Recording, StepLog


class WrittenDown:
    """In `folder` each process has files with a line for each request, its key and the second: `taken` by the engine, `asked`: answered by
    it, `anchors`: answered for a calibration."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self.max_model_len, self.window = engine.max_model_len, engine.window
        self.steps = engine.steps if isinstance(engine, Recording) else StepLog()
        self._files = {kind: (folder / f"{os.getpid()}.{kind}").open("a") for kind in ("taken", "asked", "anchors")}
        self._calibrating: set[str] = set()

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished

    def submit(self, request: Request, rank: int) -> Answer | None:
        if request.stage == "calibrate":
            self._calibrating.add(request.key)
        self._write("taken", [request.key])
        return self._engine.submit(request, rank)

    def step(self) -> Sequence[Answer]:
        answers = self._engine.step()
        keys = {answer.key for answer in answers}
        self._write("anchors", keys & self._calibrating)
        self._write("asked", keys - self._calibrating)
        return answers

    def abort(self) -> None:
        self._engine.abort()

    def _write(self, kind: str, keys: Collection[str]) -> None:
        self._files[kind].writelines(f"{key} {time.time()}\n" for key in keys)
        self._files[kind].flush()


@dataclass(frozen=True)
class WritingMachine(LocalMachine):
    """This machine with the real model, what its engines are asked written down in `asked`."""

    asked: Path = Path()

    def engine(self, model: Model) -> WrittenDown:  # type: ignore[override]
        return WrittenDown(super().engine(model), self.asked)


def nobody(_: str) -> None: ...


def answers(folder: Path, kind: str = "asked") -> Counter[str]:
    """How often each request was answered, all processes together; or of another kind of file."""
    return Counter(line.split()[0] for file in folder.glob(f"*.{kind}") for line in file.read_text().splitlines())


def last_answered(folder: Path) -> dict[str, float]:
    """When each request was answered last, in seconds of this machine's clock."""
    lines = (line.split() for file in folder.glob("*.asked") for line in file.read_text().splitlines())
    return {key: second for second, key in sorted((float(second), key) for key, second in lines)}
