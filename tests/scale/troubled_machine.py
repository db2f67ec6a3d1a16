"""A machine for workers that computes nothing, writes down what it was asked, and dies where it is told to."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from written_down import WrittenDown, nobody

from jobs.instant_machine import InstantMachine
from pipeline.engine_settings import settings
from pipeline.errors import EngineDied
from pipeline.instant_engine import InstantEngine
from pipeline.models import EMBEDDED, Model
from pipeline.records import Answer, Request

POISON = "The soup was poisoned."


class TroubledEngine(WrittenDown):
    """`together`: nothing is answered before so many processes have an engine. A request about POISON kills the engine, and with it the
    process but where it `only_raises`."""

    def __init__(
        self, engine: InstantEngine, asked: Path, step_s: float, per_step: int, poison: Sequence[int], together: int, only_raises: bool
    ) -> None:
        engine._per_step = per_step
        super().__init__(engine, asked)
        self._asked, self._step_s, self._together = asked, step_s, together
        self._poison, self._only_raises = list(poison), only_raises
        self._dead = False

    def submit(self, request: Request, rank: int) -> Answer | None:
        self._dead |= bool(self._poison) and self._holds(request.prompt.tolist())
        return super().submit(request, rank)

    def step(self) -> Sequence[Answer]:
        time.sleep(self._step_s)
        while len(list(self._asked.glob("*.asked"))) < self._together:
            time.sleep(0.05)
        if self._dead and self._only_raises:
            raise EngineDied("the engine died of poison")
        if self._dead:
            os._exit(9)
        return super().step()

    def abort(self) -> None:
        super().abort()
        self._dead = False

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
    only_raises: bool = False

    def engine(self, model: Model) -> TroubledEngine:  # type: ignore[override]
        trouble = self.asked, self.step_s, self.per_step, self.poison, self.together, self.only_raises
        return TroubledEngine(super().engine(model), *trouble)


def troubled(asked: Path, **trouble: object) -> TroubledMachine:
    asked.mkdir(exist_ok=True)
    options = {**settings("cpu"), "max_num_seqs": 8}
    machine = (EMBEDDED, "cpu", "continuous", options, Path("~/.cache/review-digest"), False, nobody)
    return TroubledMachine(*machine, asked=asked, **trouble)
