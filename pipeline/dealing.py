"""Work dealt out so that all shares end at about the same time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from heapq import heapreplace

LEAST_S = 60.0
"""Of work in a piece, but for the last ones: its tail, in which an engine is not full, is seconds."""
ROUNDS = (0.7, 0.2, 0.1)
"""Shares of all work that go out one after another."""


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


def pieces(costs: Mapping[str, int], workers: int, least: int = 0, first: Collection[str] = ()) -> list[list[str]]:
    """Every name in one of the lists, which are begun in this order, each by the worker that is free first; names that have to be `first`
    are in the first round.

    Work goes out in rounds of a piece for each worker, each round a smaller share of all of it and of cheaper names than the one before, so
    that what workers end with is small and they end together, though none of them takes just as long as was planned (guided
    self-scheduling: Polychronopoulos and Kuck 1987, "Guided self-scheduling", IEEE Transactions on Computers C-36; factoring: Hummel,
    Schonberg and Flynn 1992, CACM 35). A round whose pieces would cost less than `least` goes with the one before: each piece has a tail
    in which the engine is not full. Raises ValueError as `deal` does.
    """
    total = sum(costs.values())
    rounds: list[dict[str, int]] = [{}]
    share = iter(ROUNDS if workers > 1 else (1.0,))
    ends, taken, left = next(share), 0, total
    for name in sorted(costs, key=lambda name: (name not in first, -costs[name], name)):
        if taken >= ends * total and left >= least * workers and (more := next(share, None)):
            ends += more
            rounds.append({})
        rounds[-1][name] = costs[name]
        taken += costs[name]
        left -= costs[name]
    return [piece for one in rounds for piece in deal(one, workers) if piece]
