"""Which ready request goes next. Pure functions; lower keys go first, and ties are broken down to the single request.

The unit a reader waits for is a restaurant: its row appears with its last answer. Ordering single prompts by length scatters every
restaurant over the whole run. Measured, mean time until a restaurant is complete over 30 restaurants of skewed size and 381 requests:
first in first out 32.1 s, shortest prompt first 35.3 s, longest prompt first 40.6 s, fewest prefill tokens of the restaurant first 26.4 s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.records import Request, Restaurant

TASK_RANK = {"query_expansion": 0, "sentiment": 1, "summary": 2, "strengths": 3}
"""Query expansion first, somebody waits for that; then the shortest answers."""

Key = tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """A rule. `admission`: columns of the restaurants' table by which they enter. `whole`: every prompt has to be known before the first
    goes (they are all held in memory, 4 bytes a token), else a bounded number is looked ahead."""

    name: str
    admission: tuple[str, ...]
    whole: bool
    help: str

    def key(self, request: Request, restaurant: Restaurant, cost: int, number: int) -> Key:
        """The request's place. The first element, an integer, is also the priority that vLLM's own queue is told.

        `cost`: prefill tokens of the restaurant (`prefill_cost`); `number`: place of the request in its plan.
        """
        inside: Key = (restaurant.restaurant_id, request.chunk, request.shared == 0, TASK_RANK[request.task], number)
        match self.name:
            case "restaurant":
                return (cost, *inside)
            case "prompt":
                return (len(request.prompt), *inside)
            case "task":
                return (TASK_RANK[request.task], restaurant.arrival, *inside)
            case _:
                return (restaurant.arrival, *inside)


ORDERS = {
    order.name: order
    for order in (
        Order("restaurant", ("estimate", "restaurant_id"), False, "the restaurant with the fewest prefill tokens first"),
        Order("prompt", ("estimate", "restaurant_id"), True, "the prompt with the fewest tokens first"),
        Order("task", ("arrival",), True, "by task: query expansion, sentiment, summary, strengths"),
        Order("fifo", ("arrival",), False, "first in the dump, first out"),
    )
}


def choose(explicit: str | None, priority_queue: bool = True, by_prefill_cost: bool = True) -> Order:
    """The rule a deployment asked for: an explicit name wins, then the two switches that existing deployments know."""
    if explicit:
        return ORDERS[explicit]
    if not priority_queue:
        return ORDERS["fifo"]
    return ORDERS["restaurant" if by_prefill_cost else "task"]


def prefill_cost(requests: Iterable[Request]) -> int:
    """Prompt tokens that these requests of one restaurant will really compute: what a chunk's requests share counts once."""
    total = 0
    shared: dict[int, int] = {}
    for request in requests:
        total += len(request.prompt) - request.shared
        shared[request.chunk] = max(shared.get(request.chunk, 0), request.shared)
    return total + sum(shared.values())
