"""What a simulation asks of an order, as a run asks it: when a restaurant enters, what its requests cost, which of them goes next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pipeline.clock import Clock
from pipeline.costs import OUTPUT_TOKENS, CostModel
from pipeline.forecast import Cost, Predictor
from pipeline.job import CHUNK_TOKENS
from pipeline.order import Key, Order, Standing, rank
from pipeline.priorities import Priorities
from pipeline.records import Answer, Request, Restaurant
from pipeline.schedule import Schedule
from pipeline.simulation.engine import Call, Shape, SimulatedEngine
from pipeline.simulation.workload import Workload


@dataclass(frozen=True)
class EngineClock(Clock):
    """The engine's own seconds; its day begins when it is made."""

    engine: SimulatedEngine | None = None

    @property
    def now_s(self) -> float:
        return self.engine.now_s if self.engine else 0.0


class Turns:
    """One order over the restaurants of a workload. `whole`: everything has to be known before the first request goes; `due_s`: seconds
    until the deadlines that some have."""

    def __init__(self, order: Order, priorities: Priorities, shape: Shape, model: CostModel, engine: SimulatedEngine) -> None:
        clock = EngineClock(engine=engine)
        self.due_s = {name: clock.seconds_to(moment) for name, moment in priorities.deadlines.items()}
        known = model if model.output_tokens else replace(model, output_tokens=OUTPUT_TOKENS)
        block_size = shape.block_size if shape.caches else None
        predictor = Predictor(known, shape.max_num_seqs, block_size, shape.max_num_batched_tokens)
        self._schedule = Schedule(order, priorities, predictor, clock)
        self._seconds = predictor.expected
        self._forecasts = order.heeds_deadlines and bool(priorities.deadlines)
        self.whole = order.whole

    def entering(self, workload: Workload) -> Iterator[tuple[int, Restaurant]]:
        """Places of its restaurants in the order in which they enter, each chosen when it is asked for, and what the order adds to them."""
        restaurants, tasks = workload.restaurants, workload.tasks
        places = {one.restaurant_id: place for place, one in enumerate(restaurants)}
        standings = (
            Standing(one.restaurant_id, one.arrival, one.estimate, self._seconds(one.estimate, labels, tasks, CHUNK_TOKENS))
            for one, labels in zip(restaurants, workload.labels, strict=True)
        )
        for standing in self._schedule.in_turn(standings):
            place = places[standing.restaurant_id]
            yield place, replace(restaurants[place], urgent=standing.urgent, turn=standing.turn)

    def cost(self, requests: Iterable[Request]) -> Cost:
        """Of what a restaurant asks first."""
        return self._schedule.cost(list(requests))

    def key(self, request: Request, restaurant: Restaurant, cost: Cost, number: int) -> Key:
        """The request's place among those that are ready; `number`: its place in its plan."""
        return self._schedule.key(request, restaurant, cost, number)

    def rank(self, key: Key) -> int:
        """What the engine's own queue is told."""
        return rank(key)

    def answered(self, request: Request, call: Call) -> None:
        """The engine has answered it."""
        if self._forecasts:
            self._schedule.answered(request, Answer("", cached_tokens=max(call.cached, 0), output_tokens=call.output))

    def closed(self, restaurant: Restaurant) -> None:
        """Its last answer of its own is in."""
        self._schedule.closed(restaurant.restaurant_id)
