"""One restaurant under way: its open plans, what they wait for, and what came of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Protocol

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.forecast import Cost
from pipeline.reads import Reads
from pipeline.records import Answer, Asked, Outcome, Plan, Request
from pipeline.restaurants import Tokenised


class Task(Protocol):
    """What the loop and the run need of a task: `wording` is everything that changes its answers; `overhead` the tokens of prompt and
    answer beside the reviews, at most; `reads`: what its prompts hold of them, by language."""

    name: str
    wording: str
    overhead: int
    reads: Mapping[str, Reads]

    def plan(self, restaurant: Tokenised) -> Plan:
        """Requests out, answers in, result returned; TaskFailed where there is none."""
        ...


@dataclass
class Work:
    """`cost`: of the first requests that the store could not answer, None before any was looked up. `follows`: a second stage,
    whose restaurant has been counted and written already. `beside`: a search query among restaurants."""

    restaurant: Tokenised
    plans: dict[str, Plan] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    again: bool = False
    follows: bool = False
    beside: bool = False
    cost: Cost | None = None
    numbers: Iterator[int] = field(default_factory=count)
    _missing: dict[str, set[str]] = field(default_factory=dict)
    _answers: dict[str, dict[str, Answer]] = field(default_factory=dict)

    def open(self, tasks: Iterable[Task]) -> Iterator[tuple[str, Sequence[Request]]]:
        """Starts its plans, and one more per task; yields the first step of each that has any."""
        self.plans |= {task.name: task.plan(self.restaurant) for task in tasks}
        for name in list(self.plans):
            step = self.advance(name, None)
            if step:
                yield name, step

    def advance(self, name: str, sent: Mapping[str, Any] | None) -> Sequence[Request]:
        """Resumes one plan; its next step, no requests when it has ended. A plan that asks for nothing goes on at once."""
        try:
            step = next(self.plans[name]) if sent is None else self.plans[name].send(sent)
            while not step:
                step = self.plans[name].send({})
        except StopIteration as end:
            self.results[name] = end.value
        except TaskFailed as reason:
            self.errors[name] = str(reason)
            self.again |= not isinstance(reason, OutOfReach)
        except Exception as error:  # a fault in one plan costs that task of that restaurant, not the night
            self.errors[name] = f"unexpected {type(error).__name__}: {error}"
            self.again = True
        else:
            distinct = {request.key: request for request in step}
            self._missing[name], self._answers[name] = set(distinct), {}
            return list(distinct.values())
        del self.plans[name]
        return ()

    def receive(self, name: str, answer: Answer) -> Sequence[Request]:
        """Takes one answer; with the last of a stage the plan goes on, and its next step comes back."""
        self.again |= answer.error is not None  # a plan may do without it, and still it may come another time
        self._answers[name][answer.key] = answer
        self._missing[name].discard(answer.key)
        return () if self._missing[name] else self.advance(name, self._answers.pop(name))

    def outcome(self, ended: str | None = None) -> Outcome:
        """What came of it. `ended`: why the run stopped before the plans that are still open."""
        unfinished = dict.fromkeys(self.plans, f"not reached, {ended}")
        finished = max((asked.finished_s for asked in self.asked), default=0.0)
        return Outcome(
            self.restaurant.restaurant,
            self.results,
            {**self.errors, **unfinished},
            self.asked,
            self.restaurant.flags,
            finished,
            pending=bool(unfinished),
            again=self.again or bool(unfinished),
            beside=self.beside,
            follows=self.follows,
            sampled_count=sum(map(len, self.restaurant.chunks)),
        )
