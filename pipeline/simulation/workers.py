"""Work dealt out to N workers: how long they take, each taking the next piece when it is free.

    workload ─▶ costs ─▶ dealing.py ─▶ pieces ─▶ passes.py, a piece at a time ─▶ seconds of each ─▶ spans: who does which, and when it ends

A first pass asks everything about single restaurants, a second one their comparisons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heapreplace
from typing import Protocol

from pipeline.dealing import deal, pieces
from pipeline.simulation.passes import Worker
from pipeline.simulation.workload import Workload


@dataclass(frozen=True, slots=True)
class Span:
    """`seconds` until the last worker ends; `busy_s`: of all workers together; `longest_s`: of the longest piece."""

    seconds: float
    busy_s: float
    pieces: int
    longest_s: float


class Work(Protocol):
    """What N workers have to do. `whole_s`: one worker's seconds for all of it in one piece; `longest_s`: for the restaurant that takes it
    longest, alone; nobody is done sooner, however many there are."""

    @property
    def whole_s(self) -> float: ...
    @property
    def longest_s(self) -> float: ...
    @property
    def restaurants(self) -> int: ...
    def first(self, workers: int, shards: bool) -> Span: ...
    def second(self, workers: int) -> Span: ...


def span(seconds: Iterable[float], workers: int) -> Span:
    """Pieces begun in this order, each by the worker that is free first."""
    took = list(seconds)
    free = [0.0] * workers
    for one in took:
        heapreplace(free, free[0] + one)
    return Span(max(free), sum(took), len(took), max(took, default=0.0))


@dataclass(frozen=True)
class Simulated:
    """Every request of every piece simulated. `costs` by restaurant, by which the job deals (`pipeline/shares.py`); `least`: as
    `dealing.pieces` takes it."""

    workload: Workload
    costs: Mapping[str, int]
    worker: Worker
    least: int = 0

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return {one.restaurant_id: place for place, one in enumerate(self.workload.restaurants)}

    @property
    def restaurants(self) -> int:
        """Of the workload."""
        return len(self._places)

    @cached_property
    def whole_s(self) -> float:
        """By simulation."""
        return self.worker.seconds(self.workload, range(self.restaurants))

    @cached_property
    def longest_s(self) -> float:
        """Of the dearest one, by simulation."""
        if not self.costs:
            return 0.0
        dearest = max(sorted(self.costs), key=lambda name: self.costs[name])
        return self.worker.seconds(self.workload, [self._places[dearest]])

    def first(self, workers: int, shards: bool) -> Span:
        """`shards`: a piece for each worker, and none after it."""
        dealt = deal(self.costs, workers) if shards else pieces(self.costs, workers, self.least)
        return self._span(dealt, workers, second=False)

    def second(self, workers: int) -> Span:
        """As many comparisons for each worker."""
        compares = [name for name, place in self._places.items() if any(one.compares for one in self.workload.bundle(place).stages)]
        return self._span(deal(dict.fromkeys(compares, 1), workers), workers, second=True)

    def _span(self, dealt: Iterable[Sequence[str]], workers: int, second: bool) -> Span:
        return span(
            (self.worker.seconds(self.workload, [self._places[name] for name in names], second) for names in dealt if names), workers
        )
