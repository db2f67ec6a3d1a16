"""Work dealt out so that all shares end at about the same time."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapreplace


def deal(costs: Mapping[str, int], shares: int) -> list[list[str]]:
    """Every name in one of `shares` lists, sorted; the same lists whatever the order of `costs`.

    The dearest first, each to whom has least so far, of equals by name and by number: longest processing time first, after which the
    largest share is at most 4/3 - 1/(3 * shares) of the least possible one (Graham 1969, "Bounds on multiprocessing timing anomalies",
    SIAM J. Appl. Math. 17). Costs are whole numbers, since sums of others may differ from machine to machine. Takes n log n time. Raises
    ValueError for less than one share or a negative cost.
    """
    if shares < 1:
        raise ValueError(f"{shares} shares: work is dealt to at least one")
    if any(cost < 0 for cost in costs.values()):
        raise ValueError("a cost below nothing")
    loads = [(0, number) for number in range(shares)]
    dealt: list[list[str]] = [[] for _ in range(shares)]
    for name in sorted(costs, key=lambda name: (-costs[name], name)):
        load, number = loads[0]
        dealt[number].append(name)
        heapreplace(loads, (load + costs[name], number))
    return [sorted(names) for names in dealt]
