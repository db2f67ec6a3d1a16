"""What is ready to be asked, in order, and the bounded window of requests inside the engine that keeps its batch full."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from pipeline.engine import Engine
from pipeline.forecast import Cost
from pipeline.limits import Limits
from pipeline.order import Key, rank
from pipeline.records import Answer, Request
from pipeline.schedule import Schedule
from pipeline.work import Work

CUT_OFF = "prompt and answer need {need} tokens, the engine takes {most}"


@dataclass
class Question:
    """One key that is looked up, ready (then it has a place), or inside the engine (then it has a position), and all who wait for it."""

    request: Request
    waiting: list[tuple[Work, str, Request]]
    place: Key | None = None
    position: int | None = None


class Feed:
    """`ended`: why nothing more is fed, None while the run goes on. `idle_s`: seconds between requests in which the engine had none."""

    def __init__(self, engine: Engine, limits: Limits, schedule: Schedule) -> None:
        self._engine, self._limits, self._schedule = engine, limits, schedule
        self._ready: list[tuple[Key, int, Question]] = []
        self._alone: deque[Question] = deque()
        self._ties, self._positions = count(), count()
        self._began: float | None = None
        self._empty_since: float | None = None
        self._fed = 0
        self.ended: str | None = None
        self.idle_s = 0.0

    def __len__(self) -> int:
        """Questions ready in order."""
        return len(self._ready)

    @property
    def now_s(self) -> float:
        """Seconds since the first request."""
        return time.monotonic() - self._began if self._began else 0.0

    def price(self, unknown: Sequence[Question]) -> None:
        """A restaurant's cost is that of the first questions which really have to be asked."""
        asked: dict[int, tuple[Work, list[Request]]] = {}
        for question in unknown:
            work = question.waiting[0][0]
            if work.cost is None:
                asked.setdefault(id(work), (work, []))[1].append(question.request)
        for work, requests in asked.values():
            work.cost = self._schedule.cost(requests)

    def add(self, question: Question, alone: bool) -> None:
        """A question that is ready. `alone`: an engine has died of it, it is asked alone and last."""
        if alone:
            self._alone.append(question)
        else:
            waiting = question.waiting
            self._push(question, waiting[0][0] if len(waiting) == 1 else min((work for work, _, _ in waiting), key=self._level))

    def hasten(self, question: Question, work: Work) -> None:
        """One more restaurant waits for a question. If it is an urgent one, the question is no longer behind others."""
        if question.place is not None and self._level(work) < int(question.place[0]):
            self._push(question, work)

    def _level(self, work: Work) -> int:
        return self._schedule.level(work.restaurant.restaurant)

    def _push(self, question: Question, work: Work) -> None:
        restaurant, cost = work.restaurant.restaurant, work.cost or Cost()
        question.place = self._schedule.key(question.request, restaurant, cost, next(work.numbers))
        heapq.heappush(self._ready, (question.place, next(self._ties), question))

    def check_limits(self, more: int = 0) -> bool:
        """Whether feeding goes on, with so many prompt tokens more."""
        self.ended = self.ended or self._limits.reached(self._fed + more)
        return self.ended is None

    def fill(self) -> Iterator[Answer]:
        """Fills the window in order; when nothing else is left, one request alone. Yields the answers of requests that were refused."""
        while self._ready and self._engine.unfinished < self._engine.window and self._may_feed(self._ready[0][2]):
            place, _, question = heapq.heappop(self._ready)
            if place == question.place:  # else it was hastened, and has gone
                question.place = None
                yield from self._submit(question, rank(place))
        if self._alone and not self._ready and not self._engine.unfinished and self._may_feed(self._alone[0]):
            yield from self._submit(self._alone.popleft(), rank=0)

    def step(self) -> Iterator[Answer]:
        """One step of the engine, where it has anything to do. Raises EngineDied."""
        if self._engine.unfinished:
            yield from self._engine.step()
            if not self._engine.unfinished:
                self._empty_since = time.monotonic()

    def _may_feed(self, question: Question) -> bool:
        return self.check_limits(len(question.request.prompt))

    def _submit(self, question: Question, rank: int) -> Iterator[Answer]:
        request = question.request
        need, most = len(request.prompt) + request.sampling.max_tokens, self._engine.max_model_len
        self._began = self._began or time.monotonic()
        if need > most:
            yield Answer(request.key, prompt_tokens=len(request.prompt), error=CUT_OFF.format(need=need, most=most))
            return
        if self._empty_since is not None:
            self.idle_s += time.monotonic() - self._empty_since
            self._empty_since = None
        self._fed += len(request.prompt)
        question.position = next(self._positions)
        refused = self._engine.submit(request, rank)
        if refused is not None:
            yield refused
