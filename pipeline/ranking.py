"""Which restaurants an order takes first and last, and why, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from pipeline.order import IN_TURN, URGENT, Key
from pipeline.records import Request, Restaurant
from pipeline.schedule import Schedule

SHOWN = 3

WHY = {
    "restaurant": "{cost:,} prefill tokens",
    "longest": "{cost:,} prefill tokens",
    "cost": "about {seconds:,.1f} seconds",
    "prompt": "prompts of {shortest:,} to {longest:,} tokens",
    "task": "number {place:,} in the dump, {tasks}",
    "fifo": "number {place:,} in the dump",
}
"""By order; another one is explained by its cost and its place."""
ESTIMATED = {
    "fifo": "number {place:,} in the dump",
    "task": "number {place:,} in the dump",
    "cost": "about {seconds:,.1f} seconds",
}
"""By what restaurants are opened, where nothing was tokenised."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A restaurant in its order, and what decides about its place there."""

    restaurant_id: str
    review_count: int
    why: str


@dataclass
class Ranking:
    """Collects restaurants with the requests that they begin with. `schedule`: the one that opens them. `admitted`: rows of `Groups.table`
    in order, with predicted `seconds`, in place of those where nothing was tokenised."""

    schedule: Schedule
    admitted: pl.DataFrame | None = None
    _entries: list[tuple[Key, Key, Ranked]] = field(default_factory=list)

    def add(self, restaurant: Restaurant, requests: Sequence[Request]) -> None:
        """`requests`: those of its first stages that have to be asked."""
        if not requests:
            return
        cost, sizes = self.schedule.cost(requests), [len(request.prompt) for request in requests]
        keys = [self.schedule.key(request, restaurant, cost, number) for number, request in enumerate(requests)]
        tasks = ", ".join(dict.fromkeys(request.task for request in requests))
        said = WHY.get(self.schedule.order.name, "{cost:,} prefill tokens, number {place:,} in the dump")
        why = said.format(
            cost=cost.prefill,
            seconds=cost.seconds,
            place=restaurant.arrival + 1,
            tasks=tasks,
            shortest=min(sizes),
            longest=max(sizes),
        )
        why = _promoted(self.schedule.level(restaurant), why)
        self._entries.append((min(keys), max(keys), Ranked(restaurant.restaurant_id, len(restaurant.reviews), why)))

    def first(self) -> list[Ranked]:
        """Those whose first request goes first."""
        if self.admitted is not None:
            return self._by_estimate(self.admitted.head(SHOWN))
        return [ranked for _, _, ranked in sorted(self._entries, key=lambda entry: entry[0])[:SHOWN]]

    def last(self) -> list[Ranked]:
        """Those whose last request goes last, the last one at the end; none that `first` has."""
        if self.admitted is not None:
            return self._by_estimate(self.admitted.tail(SHOWN))
        among = {ranked.restaurant_id for ranked in self.first()}
        by_last = sorted(self._entries, key=lambda entry: entry[1])
        return [ranked for _, _, ranked in by_last if ranked.restaurant_id not in among][-SHOWN:]

    def _by_estimate(self, rows: pl.DataFrame) -> list[Ranked]:
        why = ESTIMATED.get(self.schedule.order.name, "about {cost:,} prefill tokens")
        return [
            Ranked(name, count, _promoted(self.schedule.promoted(name), why.format(place=arrival + 1, cost=cost, seconds=seconds)))
            for name, count, arrival, cost, seconds in rows.select(
                "restaurant_id", "review_count", "arrival", "estimate", "seconds"
            ).iter_rows()
        ]


def _promoted(level: int, why: str) -> str:
    return why if level == IN_TURN else f"{'urgent' if level == URGENT else 'its deadline is in danger'}; {why}"
