"""A worker as the run sees it: an actor that Ray starts and starts again, where it is, what it does, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.job import Far
from pipeline.scale.inside import noted
from pipeline.scale.piece import Piece
from pipeline.suspects import Suspect

ASIDE = "aside"
"""Calls that a worker takes while it answers."""
NOTE_S = 10.0
"""For reading a dead worker's note on its machine."""
State = Literal["placing", "loading", "free", "busy"]


@dataclass(frozen=True, slots=True)
class Given:
    """A piece, and where Ray keeps its rows until it is answered: not in this process."""

    piece: Piece
    rows: Any


@dataclass
class Slot:
    """`doing`: what is awaited of it. `loaded_s`: of its engine. `idle_deaths`: since it was last ready."""

    actor: Any
    doing: Any = None
    state: State = "placing"
    given: Given | None = None
    node: str = ""
    host: str = ""
    note: str = ""
    rank: int = 0
    loaded_s: float = 0.0
    idle_deaths: int = 0
    far: Far = field(default_factory=Far)
    asked_far: Any = None

    def place(self) -> None:
        """Asks where it is, once it is there, after its start and after each restart."""
        self.state, self.given, self.far, self.asked_far = "placing", None, Far(), None
        self.doing = self.actor.where.options(max_task_retries=-1).remote()  # it may not be there yet, or not again

    def placed(self, where: tuple[str, str, str], taken: set[tuple[str, int]], cores: int | None) -> None:
        """It is at a machine, where workers of other ranks are; loads its engine. `cores`: that it keeps to."""
        self.host, self.node, self.note = where
        self.rank = next(rank for rank in range(len(taken) + 1) if (self.host, rank) not in taken)
        if cores:
            self.actor.keep_to.remote(self.rank, cores)
        self.state, self.doing = "loading", self.actor.load.remote()

    def answer(self, given: Given) -> None:
        self.state, self.given, self.doing = "busy", given, self.actor.answer.remote(given.piece, given.rows)

    def come(self) -> Far:
        """By how much it has come further since it was last asked; asks again."""
        import ray

        further = Far()
        if self.asked_far is not None and ray.wait([self.asked_far], timeout=0)[0]:
            try:
                now = ray.get(self.asked_far)
                further, self.far = now - self.far, now
            except ray.exceptions.RayError:  # it has died; whoever waits for its piece is told
                pass
            self.asked_far = None
        if self.asked_far is None and self.state == "busy":
            self.asked_far = self.actor.far.options(concurrency_group=ASIDE).remote()
        return further

    def inside(self) -> list[Suspect]:
        """What its engine held when it died; nothing where its machine is gone, too."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(self.node, soft=False)
        found = ray.remote(num_cpus=0, max_retries=0)(_noted).options(scheduling_strategy=there).remote(self.note)
        try:
            suspects: list[Suspect] = ray.get(found, timeout=NOTE_S)
        except ray.exceptions.RayError:
            ray.cancel(found, force=True)
            return []
        return suspects


def _noted(path: str) -> list[Suspect]:
    return noted(Path(path))
