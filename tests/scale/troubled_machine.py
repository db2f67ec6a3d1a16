"""A machine for workers that computes nothing, writes down what it was asked, and dies where it is told to."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.instant_machine import InstantMachine
from pipeline.engine_settings import settings
from pipeline.instant_engine import InstantEngine
from pipeline.models import EMBEDDED, Model
from pipeline.records import Answer, Request

POISON = "The soup was poisoned."


class TroubledEngine:
    """`asked`: folder in which each process has a file with a line for every answer; `together`: nothing is answered before so many
    processes have one. A request about POISON kills the process."""

    def __init__(self, engine: InstantEngine, asked: Path, step_s: float, per_step: int, poison: Sequence[int], together: int) -> None:
        self._engine, self._step_s = engine, step_s
        self._asked, self._together = asked, together
        self._engine._per_step = per_step
        self.max_model_len, self.window = engine.max_model_len, 16
        self._poison = list(poison)
        self._file, self._anchors = ((asked / f"{os.getpid()}.{kind}").open("a") for kind in ("asked", "anchors"))
        self._calibrating: set[str] = set()
        self._inside: set[str] = set()
        self._dead: set[str] = set()

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished

    def submit(self, request: Request, rank: int) -> Answer | None:
        if self._poison and self._holds(request.prompt.tolist()):
            self._dead.add(request.key)
        if request.stage == "calibrate":
            self._calibrating.add(request.key)
        return self._engine.submit(request, rank)

    def step(self) -> Sequence[Answer]:
        time.sleep(self._step_s)
        while len(list(self._asked.glob("*.asked"))) < self._together:
            time.sleep(0.05)
        if self._dead:
            os._exit(9)
        answers = self._engine.step()
        for answer in answers:
            (self._anchors if answer.key in self._calibrating else self._file).write(f"{answer.key}\n")
        self._file.flush()
        self._anchors.flush()
        return answers

    def abort(self) -> None:
        self._engine.abort()
        self._dead = set()

    def _holds(self, prompt: list[int]) -> bool:
        size = len(self._poison)
        return any(prompt[i : i + size] == self._poison for i in range(len(prompt) - size + 1))


@dataclass(frozen=True)
class TroubledMachine(InstantMachine):
    """`poison`: token ids of what kills an engine."""

    asked: Path = Path()
    step_s: float = 0.0
    per_step: int = 4
    poison: tuple[int, ...] = ()
    together: int = 0

    def engine(self, model: Model) -> TroubledEngine:  # type: ignore[override]
        return TroubledEngine(super().engine(model), self.asked, self.step_s, self.per_step, self.poison, self.together)


def nobody(_: str) -> None: ...


def troubled(asked: Path, **trouble: object) -> TroubledMachine:
    asked.mkdir(exist_ok=True)
    options = {**settings("cpu"), "max_num_seqs": 8}
    machine = (EMBEDDED, "cpu", "continuous", options, Path("~/.cache/review-digest"), False, nobody)
    return TroubledMachine(*machine, asked=asked, **trouble)


def answers(asked: Path, kind: str = "asked") -> Counter[str]:
    """How often each request was answered by an engine, all processes together; `anchors`: those of calibrations."""
    return Counter(line for file in asked.glob(f"*.{kind}") for line in file.read_text().split())
