"""Seconds of pieces that are too large or too many to simulate: a line through sampled ones that were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.simulation.dealt import Loads, Numbers, dealt
from pipeline.simulation.passes import Worker
from pipeline.simulation.workers import Span, span
from pipeline.simulation.workload import Workload

SIZES = (1 / 12, 1 / 3, 1.0)
"""Of a sampled piece, as shares of the restaurants that it is taken from: all, and those of each round of dealing."""
PIECES = 3
"""Of each size; the last one is not fitted on, but held against the line."""
TAIL = 0.7, 0.9
"""Where rounds end, as `dealing.ROUNDS` has it."""


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of a piece = `piece_s` + `cost_s` for each unit of cost + `restaurant_s` for each restaurant. `off`: mean and largest
    relative error on simulated pieces that it was not fitted on."""

    piece_s: float
    cost_s: float
    restaurant_s: float
    off: tuple[float, float] = (0.0, 0.0)

    def seconds(self, loads: Loads) -> Numbers:
        """Of each piece."""
        found: Numbers = self.piece_s + self.cost_s * loads.costs + self.restaurant_s * loads.counts
        return found

    @classmethod
    def through(cls, workload: Workload, costs: Sequence[float], worker: Worker, second: bool = False, seed: int = 7) -> Line:
        """Through pieces drawn with a seed of this workload's restaurants, `costs` one each. Least squares of relative errors, nothing
        below 0 (Lawson and Hanson 1974)."""
        from scipy.optimize import nnls

        rows, seconds, tested = [], [], []
        for places, number in _drawn(np.asarray(costs, dtype=np.float64), seed):
            took = worker.seconds(workload, places, second)
            if took:
                rows.append((1.0, sum(costs[place] for place in places), float(len(places))))
                seconds.append(took)
                tested.append(number == PIECES - 1)
        if not rows:
            return cls(0.0, 0.0, 0.0)
        table, measured = np.array(rows), np.array(seconds)
        if second:
            table[:, 1] = 0.0
        held = np.array(tested) & (len(rows) > PIECES)
        scale = np.linalg.norm(table / measured[:, None], axis=0)
        scale[scale == 0] = 1.0
        found = nnls(table[~held] / measured[~held, None] / scale, np.ones(int((~held).sum())))[0] / scale
        errors = np.abs(table[held] @ found / measured[held] - 1)
        off = (float(errors.mean()), float(errors.max())) if len(errors) else (0.0, 0.0)
        return cls(*found.tolist(), off)


def _drawn(costs: Numbers, seed: int) -> list[tuple[list[int], int]]:
    """Places of pieces, each with its number among those of its size."""
    random = np.random.default_rng(seed)
    dearest = np.argsort(-costs, kind="stable")
    ends = np.searchsorted(np.cumsum(costs[dearest]), np.array(TAIL) * costs.sum())
    pools = [dearest, *np.split(dearest, ends)]
    found: dict[tuple[int, ...], tuple[list[int], int]] = {}
    for pool in pools:
        for share in SIZES:
            for number in range(PIECES):
                if count := round(share * len(pool)):
                    places = sorted(random.choice(pool, count, replace=False).tolist())
                    found.setdefault(tuple(places), (places, number))
    return list(found.values())


@dataclass(frozen=True)
class Sampled:
    """Work of restaurants of which only `costs` are known, the dearest first, a `sample` of which was simulated: its lines."""

    costs: Numbers
    line: Line
    comparison: Line
    compared: int
    least: float = 0.0

    @property
    def restaurants(self) -> int:
        """All of them."""
        return len(self.costs)

    @cached_property
    def whole_s(self) -> float:
        """By the line."""
        if not len(self.costs):
            return 0.0
        return float(self.line.seconds(Loads(self.costs.sum(keepdims=True), np.array([float(len(self.costs))])))[0])

    @cached_property
    def longest_s(self) -> float:
        """Of the dearest one, by the line."""
        return float(self.line.seconds(Loads(self.costs[:1], np.ones(1)))[0]) if len(self.costs) else 0.0

    def first(self, workers: int, shards: bool) -> Span:
        """As `workers.Simulated` tells."""
        return span(self.line.seconds(dealt(self.costs, workers, self.least, shards)).tolist(), workers)

    def second(self, workers: int) -> Span:
        """As many comparisons for each worker."""
        busy = min(workers, self.compared)
        each = np.full(busy, self.compared / busy) if busy else np.empty(0)
        return span(self.comparison.seconds(Loads(0 * each, each)).tolist(), workers)
