"""Pieces of millions of restaurants, as loads: what `dealing.py` deals, without a list of names.

The dearest restaurants are dealt one by one. The others are small beside what a worker has, so they are poured: each goes to whom has
least, until all have as much (the limit of longest processing time first as items become small).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapreplace

import numpy as np
import numpy.typing as npt

from pipeline.dealing import ROUNDS

ONE_BY_ONE = 16
"""Restaurants for each worker that are dealt one by one."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loads:
    """By piece, in the order in which they are begun: `costs` and `counts` of its restaurants."""

    costs: Numbers
    counts: Numbers

    def __len__(self) -> int:
        return len(self.costs)


def dealt(costs: Numbers, workers: int, least: float = 0.0, shards: bool = False) -> Loads:
    """`costs`: one of each restaurant, the dearest first. As `dealing.pieces` deals them, as `dealing.deal` where they are `shards`."""
    rounds = [costs] if shards else list(_rounds(costs, workers, least))
    found = [_poured(one, workers) for one in rounds]
    whole = Loads(*(np.concatenate([getattr(one, name) for one in found] or [np.empty(0)]) for name in ("costs", "counts")))
    some = whole.counts > 0
    return Loads(whole.costs[some], whole.counts[some])


def _rounds(costs: Numbers, workers: int, least: float) -> Iterator[Numbers]:
    """The rounds of `dealing.pieces`."""
    total = float(costs.sum())
    before = np.cumsum(costs) - costs
    start, ends = 0, 0.0
    for share in ROUNDS[:-1] if workers > 1 else ():
        ends += share
        place = max(int(np.searchsorted(before, ends * total, side="left")), start + 1)
        if place >= len(costs) or total - before[place] < least * workers:
            break
        yield costs[start:place]
        start = place
    yield costs[start:]


def _poured(costs: Numbers, workers: int) -> Loads:
    some = costs[: ONE_BY_ONE * workers]
    heap = [(0.0, number) for number in range(workers)]
    loads, counts = np.zeros(workers), np.zeros(workers)
    for cost in some.tolist():
        load, number = heap[0]
        heapreplace(heap, (load + cost, number))
        loads[number] += cost
        counts[number] += 1
    rest = costs[len(some) :]
    if len(rest):
        more = _filled(loads, float(rest.sum())) - loads
        loads += more
        counts += more * (len(rest) / more.sum())
    return Loads(loads, counts)


def _filled(levels: Numbers, amount: float) -> Numbers:
    """Levels after so much was poured onto the lowest."""
    lowest = np.sort(levels)
    needed = np.arange(1, len(lowest) + 1) * lowest - np.cumsum(lowest)  # until the first ones are as high as this one
    under = int(np.searchsorted(needed, amount, side="right"))
    found: Numbers = np.maximum(levels, (amount + lowest[:under].sum()) / under)
    return found
