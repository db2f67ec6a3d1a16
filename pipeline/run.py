"""The loop: drives plans, order and engine. Read this first.

    restaurants ─▶ plans ─▶ requests ─▶ ready (a heap by order) ─▶ engine ─▶ answers ─▶ plans go on ─▶ outcomes

A plan is a generator: it yields requests and is resumed with their answers. Thousands of them are open at once, without threads or async.
The loop keeps a bounded window of requests inside the engine, so that its batch stays full, and yields each restaurant when its last
answer is in. Answers find their plans by the request's key; equal questions that are under way at the same time are asked once.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from pipeline.engine import Engine
from pipeline.errors import TaskFailed
from pipeline.order import Key, Order, prefill_cost
from pipeline.records import Answer, Asked, Outcome, Plan, Request, Restaurant, TaskName
from pipeline.restaurants import Tokenised

CUT_OFF = "prompt and answer need {need} tokens, the engine takes {most}"


class Task(Protocol):
    """What the loop and the run need of a task: `wording` is everything that changes its answers; `overhead` the tokens of prompt and
    answer beside the reviews, at most."""

    name: TaskName
    wording: str
    overhead: int

    def plan(self, restaurant: Tokenised) -> Plan:
        """Requests out, answers in, result returned; TaskFailed where there is none."""
        ...


class Observer(Protocol):
    """Who wants to know how far the run is."""

    def admitted(self, restaurant: Restaurant) -> None: ...
    def asked(self, request: Request) -> None: ...
    def answered(self, request: Request, answer: Answer) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


NOBODY = Tokenised(Restaurant("", ()), (), (), {}, 0)


@dataclass
class _Work:
    """One restaurant under way."""

    restaurant: Tokenised
    plans: dict[str, Plan] = field(default_factory=dict)
    missing: dict[str, set[str]] = field(default_factory=dict)
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    cost: int = 0
    numbers: Iterator[int] = field(default_factory=count)


@dataclass
class _Question:
    """One key inside the engine or ready for it, and all who wait for its answer."""

    request: Request
    waiting: list[tuple[_Work, str, Request]]
    position: int | None = None


class Loop:
    """One pass over restaurants with one engine."""

    def __init__(self, tasks: Sequence[Task], order: Order, engine: Engine, observer: Observer | None = None) -> None:
        self._tasks = tasks
        self._order = order
        self._engine = engine
        self._observer = observer
        self._ready: list[tuple[Key, int, str]] = []
        self._questions: dict[str, _Question] = {}
        self._ties, self._positions = count(), count()
        self._done: list[Outcome] = []
        self._began: float | None = None

    def run(self, restaurants: Iterator[Tokenised], check: Callable[[], None] = lambda: None) -> Iterator[Outcome]:
        """Yields an outcome per restaurant, in the order in which they are completed.

        `check` is called between two steps of the engine and may raise to stop the run. Raises EngineDied.
        """
        lookahead = float("inf") if self._order.whole else 2 * self._engine.window
        more = True
        while more or self._questions:
            check()
            while more and len(self._ready) < lookahead:
                restaurant = next(restaurants, None)
                more = restaurant is not None
                check()
                if restaurant is not None:
                    self._admit(restaurant)
                    yield from self._finished()
            while self._ready and self._engine.unfinished < self._engine.window:
                self._submit()
            if self._engine.unfinished:
                for answer in self._engine.step():
                    self._deliver(answer)
            yield from self._finished()

    def _finished(self) -> Iterator[Outcome]:
        done, self._done = self._done, []
        yield from done

    def finish(self, plan: Plan, check: Callable[[], None] = lambda: None) -> Any:
        """Runs one plan that belongs to no restaurant, alone, and returns its result. Raises TaskFailed."""
        work = _Work(NOBODY, plans={"": plan})
        requests = self._advance(work, "", None)
        if requests is not None:
            self._ask(work, "", requests)
        for _ in self.run(iter(()), check):
            pass
        if work.errors:
            raise TaskFailed(work.errors[""])
        return work.results[""]

    def _admit(self, restaurant: Tokenised) -> None:
        """Opens the restaurant's plans. Its cost is known once all of them have asked their first requests."""
        work = _Work(restaurant)
        first: list[tuple[str, Sequence[Request]]] = []
        for task in self._tasks if restaurant.chunks else ():
            work.plans[task.name] = task.plan(restaurant)
            requests = self._advance(work, task.name, None)
            if requests is not None:
                first.append((task.name, requests))
        work.cost = prefill_cost(request for _, requests in first for request in requests)
        if self._observer:
            self._observer.admitted(restaurant.restaurant)
        for name, requests in first:
            self._ask(work, name, requests)
        self._close(work)

    def _advance(self, work: _Work, name: str, answers: Mapping[str, Answer] | None) -> Sequence[Request] | None:
        """Resumes one plan; its next requests, or None when it has ended. A plan that asks for nothing goes on at once."""
        try:
            requests = next(work.plans[name]) if answers is None else work.plans[name].send(answers)
            while not requests:
                requests = work.plans[name].send({})
        except StopIteration as end:
            work.results[name] = end.value
        except TaskFailed as reason:
            work.errors[name] = str(reason)
        except Exception as error:  # a fault in one plan costs that task of that restaurant, not the night
            work.errors[name] = f"unexpected {type(error).__name__}: {error}"
        else:
            return list({request.key: request for request in requests}.values())
        del work.plans[name]
        return None

    def _ask(self, work: _Work, name: str, requests: Sequence[Request]) -> None:
        work.missing[name] = {request.key for request in requests}
        work.answers[name] = {}
        restaurant = work.restaurant.restaurant
        for request in requests:
            if question := self._questions.get(request.key):
                question.waiting.append((work, name, request))
                continue
            if self._observer:
                self._observer.asked(request)
            self._questions[request.key] = _Question(request, [(work, name, request)])
            key = self._order.key(request, restaurant, work.cost, next(work.numbers))
            heapq.heappush(self._ready, (key, next(self._ties), request.key))

    def _submit(self) -> None:
        key, _, name = heapq.heappop(self._ready)
        question = self._questions[name]
        request = question.request
        need = len(request.prompt) + request.sampling.max_tokens
        self._began = self._began or time.monotonic()
        if need > self._engine.max_model_len:
            self._deliver(Answer(name, prompt_tokens=len(request.prompt), error=CUT_OFF.format(need=need, most=self._engine.max_model_len)))
            return
        question.position = next(self._positions)
        refused = self._engine.submit(request, rank=int(key[0]))
        if refused is not None:
            self._deliver(refused)

    def _deliver(self, answer: Answer) -> None:
        question = self._questions.pop(answer.key)
        assert self._began is not None
        now = time.monotonic() - self._began
        if self._observer:
            self._observer.answered(question.request, answer)
        for i, (work, name, request) in enumerate(question.waiting):
            reused = i > 0  # paid for by the first who asked
            work.asked.append(Asked(request, answer, None if reused else question.position, now, reused))
            work.answers[name][answer.key] = answer
            work.missing[name].discard(answer.key)
            if not work.missing[name]:
                requests = self._advance(work, name, work.answers.pop(name))
                if requests is not None:
                    self._ask(work, name, requests)
                self._close(work)

    def _close(self, work: _Work) -> None:
        if work.plans:
            return
        restaurant = work.restaurant
        finished = max((asked.finished_s for asked in work.asked), default=0.0)
        outcome = Outcome(restaurant.restaurant, work.results, work.errors, work.asked, restaurant.flags, finished)
        self._done.append(outcome)
        if self._observer:
            self._observer.finished(outcome)
