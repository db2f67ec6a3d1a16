"""The loop: drives plans, store, order and engine. Read this first.

    restaurants ─▶ plans ─▶ requests ─▶ store ─▶ ready (a heap by order) ─▶ engine ─▶ answers ─▶ plans go on ─▶ outcomes
                                          └──────────── answers already paid for ────────▲

A plan is a generator: it yields requests and is resumed with their answers. Thousands of them are open at once, without threads or async.
The loop keeps a bounded window of requests inside the engine, so that its batch stays full, and yields each restaurant when its last
answer is in. Answers find their plans by the request's key; equal questions are asked once. Resuming after a crash is nothing special:
plans are replayed, and the store answers what it knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from pipeline.engine import Engine
from pipeline.errors import TaskFailed
from pipeline.exchange import Exchange, FollowUp, Ready, Tables
from pipeline.feed import Feed, Question
from pipeline.limits import Limits
from pipeline.order import Order
from pipeline.records import Answer, Asked, Outcome, Plan, Request, Restaurant
from pipeline.restaurants import Tokenised
from pipeline.schedule import Schedule
from pipeline.store import Answers, Forgetful
from pipeline.suspects import GIVEN_UP, MOST_DEATHS
from pipeline.work import Task, Work


class Observer(Protocol):
    """Who wants to know how far the run is."""

    def admitted(self, restaurant: Restaurant) -> None: ...
    def asked(self, request: Request) -> None: ...
    def answered(self, request: Request, answer: Answer) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


NOBODY = Tokenised(Restaurant("", ()), (), (), {}, 0)


class Loop:
    """One pass over restaurants with one engine."""

    def __init__(
        self,
        tasks: Sequence[Task],
        order: Order | Schedule,
        engine: Engine,
        observer: Observer | None = None,
        store: Answers | None = None,
        limits: Limits | None = None,
        follow_up: FollowUp | None = None,
        tables: Tables | None = None,
        aside: Path | None = None,
    ) -> None:
        """`tables`: of restaurants that are not in this pass. `aside`: folder for second stages that wait."""
        self._tasks = tasks
        self._follow_up = follow_up
        self._exchange = Exchange(follow_up, tables or {}, aside)
        self._schedule = order if isinstance(order, Schedule) else Schedule(order)
        self._engine = engine
        self._observer = observer
        self._store = Forgetful() if store is None else store
        self._feed = Feed(engine, Limits() if limits is None else limits, self._schedule)
        self._new: list[str] = []
        self._questions: dict[str, Question] = {}
        self._open: dict[int, Work] = {}
        self._done: list[Outcome] = []

    @property
    def ended(self) -> str | None:
        """Why nothing more is fed, None while the run goes on."""
        return self._feed.ended

    @property
    def now_s(self) -> float:
        """Seconds since the first request, 0 before it."""
        return self._feed.now_s

    @property
    def idle_s(self) -> float:
        """Seconds, since its first request, that the engine had nothing to do."""
        return self._feed.idle_s

    @property
    def inside(self) -> list[Request]:
        """Requests that the engine has not answered."""
        return [question.request for question in self._questions.values() if question.position is not None]

    def run(self, restaurants: Iterator[Tokenised], check: Callable[[], None] = lambda: None) -> Iterator[Outcome]:
        """Yields an outcome per restaurant, in the order in which they are completed; when a limit is reached, those begun as pending.

        `check` is called between two steps of the engine and may raise to stop the run. Raises EngineDied, TryAgain.
        """
        lookahead = float("inf") if self._schedule.order.whole else 2 * self._engine.window
        more = True
        while more or self._questions or self._give_up():
            check()
            if more and self._feed.check_limits() and len(self._feed) < lookahead:
                more = self._admit_some(restaurants, check)
                yield from self._finished()
                continue
            self._feed.check_limits()
            for refused in self._feed.fill():
                self._deliver(refused)
            if not self._engine.unfinished and self.ended:
                break
            for answer in self._feed.step():
                self._deliver(answer)
            self._settle()
            yield from self._finished()
        for work in list(self._open.values()):
            self._close(work)
        yield from self._finished()
        for ready in self._exchange.give_up():  # the run ended before they were begun
            yield self._second(*ready).outcome(self.ended)

    def finish(self, plan: Plan, check: Callable[[], None] = lambda: None) -> Any:
        """Runs one plan that belongs to no restaurant, alone, and returns its result. Raises TaskFailed."""
        work = Work(NOBODY, {"": plan})
        self._start(work)
        self._settle()
        list(self.run(iter(()), check))
        if work.errors:
            raise TaskFailed(work.errors[""])
        return work.results[""]

    def _finished(self) -> Iterator[Outcome]:
        done, self._done = self._done, []
        yield from done

    def _admit_some(self, restaurants: Iterator[Tokenised], check: Callable[[], None]) -> bool:
        """Opens restaurants until there are enough questions for one lookup in the store; False when no restaurant is left."""
        for restaurant in restaurants:
            check()
            if self._observer:
                self._observer.admitted(restaurant.restaurant)
            self._start(Work(restaurant), self._tasks if restaurant.chunks else ())
            if len(self._new) >= 2 * self._engine.window:
                self._settle()
                return True
        self._settle()
        return False

    def _start(self, work: Work, tasks: Sequence[Task] = ()) -> None:
        self._open[id(work)] = work
        for name, step in list(work.open(tasks)):
            self._ask(work, name, step)
        self._close_if_done(work)

    def begin(self, query: Tokenised, task: Task) -> None:
        """Opens a search query's plan, before `run` and beside its restaurants: no second stage follows it, whatever its name."""
        self._start(Work(query, beside=True), [task])

    def follow(self, restaurant: Restaurant, stand: Any) -> None:
        """Begins a restaurant's second stage, now or as soon as the tables that it needs are there; its reviews are not held for that."""
        if ready := self._exchange.ask(replace(restaurant, reviews=()), stand):
            self._start(self._second(*ready))

    def _second(self, restaurant: Restaurant, stand: Any, tables: Tables) -> Work:
        assert self._follow_up is not None
        return Work(Tokenised(restaurant, (), (), {}, 0), {self._follow_up.name: self._follow_up.plan(stand, tables)}, follows=True)

    def _give_up(self) -> bool:
        """Whether there were second stages that waited for tables which will not come, and go on without."""
        return self._resume(self._exchange.give_up())

    def _resume(self, ready: Iterator[Ready]) -> bool:
        resumed = False
        for one in ready:
            self._start(self._second(*one))
            resumed = True
        return resumed

    def _ask(self, work: Work, name: str, requests: Sequence[Request]) -> None:
        for request in requests:
            if question := self._questions.get(request.key):
                question.waiting.append((work, name, request))
                self._feed.hasten(question, work)
            else:
                self._questions[request.key] = Question(request, [(work, name, request)])
                self._new.append(request.key)

    def _settle(self) -> None:
        """Looks new questions up together: answered at once, or ready. A stored answer may lead to further questions."""
        while self._new:
            new, self._new = self._new, []
            stored = list(self._store.find(new))
            known = {answer.key for answer in stored}
            unknown = [self._questions[key] for key in new if key not in known]
            self._feed.price(unknown)
            for question in unknown:
                self._make_ready(question)
            for answer in stored:
                self._deliver(answer, stored=True)

    def _make_ready(self, question: Question) -> None:
        request = question.request
        deaths = self._store.deaths(request.key)
        if deaths >= MOST_DEATHS:
            self._deliver(Answer(request.key, prompt_tokens=len(request.prompt), error=GIVEN_UP))
            return
        if self._observer:
            self._observer.asked(request)
        self._feed.add(question, alone=bool(deaths))

    def _deliver(self, answer: Answer, stored: bool = False) -> None:
        question = self._questions.pop(answer.key)
        now = self._feed.now_s
        if not stored:
            self._store.add(question.request, answer)
            self._schedule.answered(question.request, answer)
            if self._observer:
                self._observer.answered(question.request, answer)
        told: set[tuple[int, str]] = set()
        for work, name, request in question.waiting:
            reused = stored or bool(told)  # else paid for by the first who asked
            if (id(work), request.task) not in told:  # strengths asks the questions of sentiment, too
                work.asked.append(Asked(request, answer, None if reused else question.position, now, reused))
            told.add((id(work), request.task))
            self._ask(work, name, work.receive(name, answer))
            self._close_if_done(work)

    def _close_if_done(self, work: Work) -> None:
        if not work.plans:
            self._close(work)

    def _close(self, work: Work) -> None:
        del self._open[id(work)]
        outcome = work.outcome(self.ended)
        self._done.append(outcome)
        if work.follows or work.beside:
            return
        self._schedule.closed(outcome.restaurant.restaurant_id)
        if self._observer:
            self._observer.finished(outcome)
        if self._follow_up and not outcome.pending:
            stand = self._follow_up.stand(outcome)
            if stand is not None:
                self.follow(outcome.restaurant, stand)
            self._resume(self._exchange.add(outcome.restaurant.restaurant_id, self._follow_up.table(outcome)))
