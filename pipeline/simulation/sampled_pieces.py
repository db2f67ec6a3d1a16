"""Seconds of pieces that are too large or too many to simulate: a line through sampled ones that were."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from pipeline.dealing import ROUNDS
from pipeline.simulation.dealt import Loads, Numbers, dealt
from pipeline.simulation.passes import Worker
from pipeline.simulation.workers import Span, span
from pipeline.simulation.workload import Workload

SIZES = (1 / 12, 1 / 3, 1.0)
"""Of a sampled piece, as shares of the restaurants that it is taken from: all, and those of each round of dealing."""
PIECES = 3
"""Of each size; the last one is not fitted on, but held against the line."""


class Row(NamedTuple):
    """A simulated piece: its restaurants' costs and number, its seconds, tokens computed. `held`: against the line, not fitted on it."""

    costs: float
    restaurants: float
    seconds: float
    computed: int
    held: bool


@dataclass(frozen=True, slots=True)
class Line:
    """Seconds of a piece: `piece_s`, `cost_s` a unit of cost, `restaurant_s` a restaurant. A piece of more than `full_cost` computes more
    tokens than the KV cache holds, so that reviews are read again for later questions: `again_s` more a unit of cost. `off`: mean and
    largest relative error on simulated pieces that it was not fitted on."""

    piece_s: float = 0.0
    cost_s: float = 0.0
    restaurant_s: float = 0.0
    again_s: float = 0.0
    full_cost: float = float("inf")
    off: tuple[float, float] = (0.0, 0.0)

    def seconds(self, loads: Loads) -> Numbers:
        """Of each piece."""
        rates = np.array([self.piece_s, self.cost_s, self.restaurant_s, self.again_s])
        found: Numbers = _columns(loads, self.full_cost) @ rates
        return found

    @classmethod
    def through(cls, workload: Workload, costs: Sequence[float], worker: Worker, second: bool = False, seed: int = 7) -> Line:
        """Through pieces drawn with a seed of this workload's restaurants, `costs` one each: least squares of relative errors, nothing
        below 0 (Lawson and Hanson 1974). Comparisons (`second`) go by their number."""
        rows: list[Row] = []
        for places, number in _drawn(np.asarray(costs, dtype=np.float64), seed):
            ran = worker.run(workload, places, second)
            if ran.seconds:
                cost = 0.0 if second else float(sum(costs[place] for place in places))
                rows.append(Row(cost, float(len(places)), ran.seconds, ran.computed, number == PIECES - 1))
        fitted = [row for row in rows if not row.held] or rows
        if not fitted:
            return cls()
        computed, cost = sum(row.computed for row in fitted), sum(row.costs for row in fitted)
        full = worker.capacity * cost / computed if computed and cost else float("inf")
        piece_s, cost_s, restaurant_s, again_s = _fitted(fitted, full)
        line = cls(piece_s, cost_s, restaurant_s, again_s, full)
        held = [row for row in rows if row.held]
        errors = np.abs(line.seconds(_loads(held)) / np.array([row.seconds for row in held]) - 1)
        return replace(line, off=(float(errors.mean()), float(errors.max()))) if held else line


def _loads(rows: Sequence[Row]) -> Loads:
    return Loads(np.array([row.costs for row in rows]), np.array([row.restaurants for row in rows]))


def _columns(loads: Loads, full_cost: float) -> Numbers:
    """Shape (pieces, 4)."""
    again = np.where(loads.costs > full_cost, loads.costs, 0.0)
    return np.column_stack([np.ones(len(loads)), loads.costs, loads.counts, again])


def _fitted(rows: Sequence[Row], full_cost: float) -> list[float]:
    from scipy.optimize import nnls

    table = _columns(_loads(rows), full_cost) / np.array([[row.seconds] for row in rows])
    scale = np.linalg.norm(table, axis=0)
    scale[scale == 0] = 1.0
    found: list[float] = (nnls(table / scale, np.ones(len(rows)))[0] / scale).tolist()
    return found


def _drawn(costs: Numbers, seed: int) -> list[tuple[list[int], int]]:
    """Places of pieces, each with its number among those of its size."""
    random = np.random.default_rng(seed)
    dearest = np.argsort(-costs, kind="stable")
    ends = np.searchsorted(np.cumsum(costs[dearest]), np.cumsum(ROUNDS)[:-1] * costs.sum())
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
