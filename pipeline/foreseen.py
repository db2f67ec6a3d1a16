"""What a plan says that a run will ask, request by request: a workload, to be simulated on any number of engines."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from pipeline.costs import CostModel
from pipeline.records import Request, Restaurant, Sampling, TokenIds
from pipeline.run import NOBODY
from pipeline.simulation.assembled import assembled
from pipeline.simulation.workload import Ask, Bundles, blank, shared_of

EVERYBODY = NOBODY.restaurant.restaurant_id
"""Whom the questions about anchor reviews are about."""


@dataclass
class Foreseen:
    """Collects requests. An expected one that is more likely than not is asked, and what that is too much or too little is made up for by
    the next ones of its stage, so that their number is the expected one."""

    restaurants: dict[str, Restaurant] = field(default_factory=dict)
    _asks: list[tuple[Request, TokenIds, int]] = field(default_factory=list)
    _due: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def open(self, restaurant: Restaurant) -> None:
        """One that is looked at; its reviews are not kept."""
        self.restaurants[restaurant.restaurant_id] = replace(restaurant, reviews=(), arrival=len(self.restaurants))

    def ask(self, request: Request) -> None:
        """One request, for certain."""
        self._asks.append((request, request.prompt, len(request.prompt)))

    def expect(self, task: str, stage: str, restaurant_id: str, requests: float, prompt: TokenIds | None = None, tokens: int = 0) -> None:
        """So many requests, which may be a share of one. Their prompts have `tokens` tokens, the first of them those of `prompt`, of which
        `tokens` 0 says that it is the whole."""
        self._due[stage] += requests
        begins = blank(0) if prompt is None else prompt
        size = tokens or len(begins)
        while self._due[stage] >= 0.5:
            self._due[stage] -= 1
            self._asks.append((Request("", task, stage, restaurant_id, blank(size), Sampling(1)), begins, size))

    def workload(self, peers: Mapping[str, Sequence[str]], block_size: int, rates: CostModel) -> Bundles:
        """All that is asked about restaurants, answers as long as expected; `peers` by restaurant."""
        return self._bundles(list(self._everyone().values()), peers, block_size, rates)

    def anchors(self, block_size: int, rates: CostModel) -> Bundles:
        """What is asked before, about the anchor reviews."""
        return self._bundles([NOBODY.restaurant], {}, block_size, rates)

    def _everyone(self) -> dict[str, Restaurant]:
        """Those of which only the comparison is asked among them."""
        found = dict(self.restaurants)
        for request, _, _ in self._asks:
            name = request.restaurant_id
            if name not in found and name != EVERYBODY and request.task != "query_expansion":
                found[name] = Restaurant(name, (), arrival=len(found))
        return found

    def _bundles(self, some: Sequence[Restaurant], peers: Mapping[str, Sequence[str]], block_size: int, rates: CostModel) -> Bundles:
        names = {one.restaurant_id for one in some}
        asked = [one for one in self._asks if one[0].restaurant_id in names]
        shared = shared_of([prompt for _, prompt, _ in asked], block_size) if block_size else [()] * len(asked)
        asks = [
            Ask(replace(request, prompt=blank(size)), max(round(rates.answer_tokens(request.task, request.stage)), 1), pieces)
            for (request, _, size), pieces in zip(asked, shared, strict=True)
        ]
        return assembled(asks, some, peers)
