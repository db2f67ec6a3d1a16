"""A pass of one worker over a piece: some restaurants of a workload, on an engine of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from pipeline.costs import CostModel
from pipeline.order import ORDERS, Order
from pipeline.records import Restaurant
from pipeline.simulation.engine import Shape
from pipeline.simulation.loop import Simulation
from pipeline.simulation.workload import Bundle, Stage, Workload


@dataclass(frozen=True)
class Some:
    """The restaurants at these `places` of a workload. `second`: their comparisons alone, whose peers are all known; else everything but
    those."""

    workload: Workload
    places: Sequence[int]
    second: bool = False

    @cached_property
    def restaurants(self) -> Sequence[Restaurant]:
        everyone = self.workload.restaurants
        return [replace(everyone[place], arrival=number) for number, place in enumerate(self.places)]

    @cached_property
    def labels(self) -> Sequence[int]:
        labels = self.workload.labels
        return [0 if self.second else labels[place] for place in self.places]

    @property
    def tasks(self) -> frozenset[str]:
        return self.workload.tasks

    def bundle(self, place: int) -> Bundle:
        whole = self.workload.bundle(self.places[place])
        kept = [number for number, stage in enumerate(whole.stages) if stage.compares == self.second]
        stages = [_renumbered(whole.stages[number], kept) for number in kept]
        return Bundle(self.restaurants[place], tuple(stages))


def _renumbered(stage: Stage, kept: Sequence[int]) -> Stage:
    return replace(stage, after=tuple(kept.index(other) for other in stage.after if other in kept))


class Ran(NamedTuple):
    """`seconds` from the first request to the last answer; `computed`: prompt tokens, those from the cache left out."""

    seconds: float
    computed: int


@dataclass(frozen=True, slots=True)
class Worker:
    """What all workers are: an engine of this shape and these rates, asked in this order."""

    shape: Shape
    rates: CostModel
    order: Order = ORDERS["restaurant"]

    @property
    def capacity(self) -> float:
        """Tokens that the KV cache holds."""
        blocks = self.shape.blocks
        return float("inf") if blocks is None else float(blocks * self.shape.block_size)

    def run(self, workload: Workload, places: Sequence[int], second: bool = False) -> Ran:
        """From an empty prefix cache."""
        if not places:
            return Ran(0.0, 0)
        done = Simulation(Some(workload, sorted(places), second), self.order, self.shape, self.rates).run()
        return Ran(done.seconds, int((done.requests["prompt_tokens"] - done.requests["cached_tokens"]).sum()))

    def seconds(self, workload: Workload, places: Sequence[int], second: bool = False) -> float:
        """Of `run`."""
        return self.run(workload, places, second).seconds
