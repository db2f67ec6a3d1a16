"""Plans driven as far as stored answers lead: what a run would still ask, without asking it.

The plans are those of the run itself, so what is counted here is what the run does; a plan stops at the first stage that has an unanswered
request, and what comes after that stage nobody can know yet (`expected.py`).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.amounts import Amounts, Longest
from pipeline.foreseen import Foreseen
from pipeline.prefix_cache import PrefixCache
from pipeline.records import Answer, Request
from pipeline.stored import StoredAnswers
from pipeline.suspects import GIVEN_UP, MOST_DEATHS
from pipeline.work import Task, Work

MOST_LONGEST = 5
UNANSWERED = "a plan asks nothing"


@dataclass(frozen=True, slots=True)
class Reached:
    """How far one restaurant's plans went. `open`: the unanswered requests of each plan that has not ended. `answers` by key: the stored
    ones of the stages it went through."""

    open: Mapping[str, Sequence[Request]]
    answers: Mapping[str, Answer]

    @property
    def unanswered(self) -> list[Request]:
        """Each once."""
        return list({request.key: request for requests in self.open.values() for request in requests}.values())


@dataclass
class Replay:
    """Counts requests over all restaurants, each question once. `stored`: None where nothing stored counts. `foreseen`: keeps them."""

    stored: StoredAnswers | None
    cache: PrefixCache
    max_model_len: int
    amounts: Amounts = field(default_factory=Amounts)
    longest: list[tuple[int, str, Longest]] = field(default_factory=list)
    refused: list[Longest] = field(default_factory=list)
    foreseen: Foreseen | None = None
    _seen: set[str] = field(default_factory=set)

    def drive(self, work: Work, tasks: Sequence[Task] = ()) -> Reached:
        """Opens a restaurant's plans and answers what the store knows."""
        steps = list(work.open(tasks))
        known: dict[str, Answer] = {}
        left: dict[str, list[Request]] = {}
        while steps:
            known |= self.ask([request for _, step in steps for request in step], len(work.restaurant.restaurant.reviews))
            following = []
            for name, step in steps:
                left[name] = [request for request in step if request.key not in known]
                for request in step:
                    more = work.receive(name, known[request.key]) if request.key in known else ()
                    if more:
                        following.append((name, more))
            steps = following
        return Reached({name: requests for name, requests in left.items() if name in work.plans}, known)

    def ask(self, requests: Sequence[Request], reviews: int) -> dict[str, Answer]:
        """The stored answers to these; all are counted, those seen before not again. `reviews`: of their restaurant."""
        distinct = {request.key: request for request in requests}
        answers = self._look_up(list(distinct))
        for request in distinct.values():
            if request.key not in self._seen:
                self._seen.add(request.key)
                self._count(request, request.key in answers, reviews)
        return answers

    def new(self, requests: Sequence[Request]) -> list[Request]:
        """Those of these requests that would have to be asked; nothing is counted."""
        distinct = {request.key: request for request in requests if request.key not in self._seen}
        answers = self._look_up(list(distinct))
        return [request for key, request in distinct.items() if key not in answers]

    def _look_up(self, keys: Sequence[str]) -> dict[str, Answer]:
        if self.stored is None:
            return {}
        found = {answer.key: answer for answer in self.stored.find(keys)}
        given_up = (key for key in keys if key not in found and self.stored.deaths(key) >= MOST_DEATHS)
        return found | {key: Answer(key, error=GIVEN_UP) for key in given_up}

    def _count(self, request: Request, stored: bool, reviews: int) -> None:
        amount, size = self.amounts.of(request.task, request.stage), len(request.prompt)
        if stored:
            amount.stored += 1
            amount.stored_tokens += size
            return
        one = Longest(request.task, request.stage, request.restaurant_id, reviews, size, size + request.sampling.max_tokens)
        if one.needs > self.max_model_len:
            self.refused.append(one)
            return
        amount.asked(size, self.cache.add(request.prompt))
        if self.foreseen:
            self.foreseen.ask(request)
        heapq.heappush(self.longest, (size, request.key, one))
        if len(self.longest) > MOST_LONGEST:
            heapq.heappop(self.longest)
