"""An order at work in one run: who is opened next, and the key of each request that is ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pipeline.aging import Aging
from pipeline.clock import Clock
from pipeline.deadlines import Watch
from pipeline.forecast import Cost, Forecast, Predictor
from pipeline.order import IN_DANGER, IN_TURN, URGENT, Key, Order, Standing
from pipeline.priorities import Priorities
from pipeline.records import Answer, Request, Restaurant


class Schedule:
    """`order`, with what a person says about single restaurants and what is predicted."""

    def __init__(
        self,
        order: Order,
        priorities: Priorities | None = None,
        predictor: Predictor | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.order, self.clock = order, clock or Clock()
        self._priorities, self.predictor = priorities or Priorities(), predictor or Predictor()
        self.max_overtake: float | None = self._priorities.max_overtake
        """Tokens; where a time was given, known as soon as restaurants are opened."""
        self._forecast = Forecast(self.predictor, self.clock)
        deadlines = self._priorities.deadlines if order.heeds_deadlines else {}
        self._due = {name: self.clock.seconds_to(moment) for name, moment in deadlines.items()}
        self._in_danger: set[str] = set()
        self._last: tuple[Restaurant, Cost, Standing] | None = None

    def in_turn(self, everyone: Iterable[Standing]) -> Iterator[Standing]:
        """Restaurants in the order in which they are opened, each chosen when it is asked for: the urgent, deadlines in danger, then by the
        order, nobody further behind first in, first out than the bound allows. All of them have arrived before the first is opened."""
        urgent = self._priorities.urgent
        named = (replace(one, urgent=True) if one.restaurant_id in urgent else one for one in everyone)
        waiting = sorted(named, key=self.order.entry)
        self._due = {one.restaurant_id: self._due[one.restaurant_id] for one in waiting if one.restaurant_id in self._due}
        watch = Watch(waiting, self._due) if self._due else None
        aging = self._aging(waiting)
        opened = bytearray(len(waiting))
        following = 0
        for _ in waiting:
            while opened[following]:
                following += 1
            watched = watch if self.order.level(waiting[following]) == IN_TURN else None  # the urgent go before those in danger
            endangered = watched.in_danger(self._forecast, self.clock.now_s) if watched else None
            place, turn = following if endangered is None else endangered, 0
            if endangered is not None:
                self._in_danger.add(waiting[place].restaurant_id)
            if aging and (endangered is not None or self.order.level(waiting[place]) != IN_TURN):
                aging.put_first(place)
            elif aging:
                place, turn = aging.take(place)
            opened[place] = True
            if watch:
                watch.opened(place)
                self._forecast.opened(waiting[place].restaurant_id, waiting[place].seconds)
            yield replace(waiting[place], turn=turn) if turn else waiting[place]

    @property
    def assumption(self) -> str | None:
        """What is said where something depends on predicted seconds and nothing was measured before, else None."""
        predicts = self.order.name == "cost" or bool(self._due) or self._priorities.max_wait is not None
        model = self.predictor.model
        if not predicts or model.steps:
            return None
        rates = f"{1 / model.prefill_s:,.0f} prompt tokens and {1 / model.decode_s:,.0f} output tokens a second"
        return f"no costs were measured before; predictions begin with {rates}"

    def cost(self, requests: Sequence[Request]) -> Cost:
        """Of the first requests of a restaurant that really have to be asked."""
        return self.predictor.cost(requests)

    def key(self, request: Request, restaurant: Restaurant, cost: Cost, number: int) -> Key:
        """The place of a request that is ready; `number`: its place in its plan."""
        return self.order.key(request, self._standing(restaurant, cost), number)

    def level(self, restaurant: Restaurant) -> int:
        """The first element of its requests' keys."""
        if not self._due:
            return URGENT if restaurant.urgent and self.order.promotes else IN_TURN
        return self.order.level(self._standing(restaurant, Cost()))

    def promoted(self, restaurant_id: str) -> int:
        """The same of one that has been opened, by its name."""
        if restaurant_id in self._priorities.urgent and self.order.promotes:
            return URGENT
        return IN_DANGER if restaurant_id in self._in_danger else IN_TURN

    def answered(self, request: Request, answer: Answer) -> None:
        """By the engine, not by the store."""
        self._forecast.answered(request, answer)

    def closed(self, restaurant_id: str) -> None:
        """Its last answer is in: its deadline is met or missed."""
        self._forecast.closed(restaurant_id)
        self._due.pop(restaurant_id, None)

    def _standing(self, restaurant: Restaurant, cost: Cost) -> Standing:
        if self._due:
            return self._in_time(restaurant, cost)
        last = self._last
        if last is None or last[0] is not restaurant or last[1] is not cost:  # its requests come together
            last = self._last = restaurant, cost, self._in_time(restaurant, cost)
        return last[2]

    def _in_time(self, restaurant: Restaurant, cost: Cost) -> Standing:
        name = restaurant.restaurant_id
        due = self._due.get(name)
        # Once open, it may have to wait for all that is open.
        if due is not None and name not in self._in_danger and self._forecast.finish_s(0.0) > due:
            self._in_danger.add(name)
        return Standing(
            name,
            restaurant.arrival,
            cost.prefill,
            cost.seconds,
            restaurant.turn,
            restaurant.urgent,
            due if name in self._in_danger else None,
            late=due is not None and due <= self.clock.now_s,
        )

    def _aging(self, waiting: Sequence[Standing]) -> Aging[int] | None:
        wait, tokens, seconds = self._priorities.max_wait, sum(one.prefill for one in waiting), sum(one.seconds for one in waiting)
        if self.max_overtake is None and wait is not None and seconds:
            self.max_overtake = round(wait.total_seconds() * tokens / seconds)
        if self.max_overtake is None:
            return None
        aging: Aging[int] = Aging(self.max_overtake)
        for place in sorted(range(len(waiting)), key=lambda i: waiting[i].arrival):
            aging.arrive(place, waiting[place].prefill)
        return aging
