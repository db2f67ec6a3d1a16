"""What a simulation asks of an order, as a run asks it: when a restaurant enters, what its requests cost, which of them goes next."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipeline.order import Key, Order, prefill_cost
from pipeline.records import Request, Restaurant


class Turns:
    """One order over the restaurants of a workload. `whole`: everything has to be known before the first request goes."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self.whole = order.whole

    def entering(self, restaurants: Sequence[Restaurant]) -> list[int]:
        """Their places, in the order in which they enter."""
        columns = self._order.admission
        return sorted(range(len(restaurants)), key=lambda place: tuple(getattr(restaurants[place], name) for name in columns))

    def cost(self, requests: Iterable[Request]) -> int:
        """Prefill tokens of what a restaurant asks first."""
        return prefill_cost(requests)

    def key(self, request: Request, restaurant: Restaurant, cost: int, number: int) -> Key:
        """The request's place among those that are ready; `number`: its place in its plan."""
        return self._order.key(request, restaurant, cost, number)

    def rank(self, key: Key) -> int:
        """What the engine's own queue is told."""
        return int(key[0])
