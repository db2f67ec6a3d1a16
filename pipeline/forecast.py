"""When what is waiting will be done: the cost model, corrected by what this run has shown so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from pipeline.clock import Clock
from pipeline.costs import CostModel, assumed
from pipeline.order import prefill_cost
from pipeline.records import Answer, Request
from pipeline.tasks.strengths import PRAISED

Seconds = TypeVar("Seconds", float, npt.NDArray[np.float64])

SAFETY = 1.5
"""Predicted seconds count so many times. To be early costs others no more than the restaurant's own work, to be late costs the deadline."""
LEAST_MEASURED_S = 5.0
"""Of the engine's work before the run's own pace is believed."""
CHUNK_FILL = 0.625
"""Of a chunk's tokens, how many are used on average."""
CHAINS = ((("summary", "part"), ("summary", "merge")), (("strengths", "find"), ("strengths", "praise")))
"""Answers of one restaurant that wait for one another."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of the requests of one restaurant: `prefill` tokens to be computed, predicted `seconds` of prefill and decode."""

    prefill: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Predictor:
    """Seconds of work in a full batch of so many sequences. `block_size`: of the prefix cache, None without. `step_tokens`: of prompts and
    answers that a step computes at most."""

    model: CostModel = field(default_factory=lambda: assumed("cpu"))
    batch: int = 64
    block_size: int | None = 1
    step_tokens: int = 1024

    def cost(self, requests: Sequence[Request]) -> Cost:
        """Of requests of one restaurant, exactly counted; answers as long as expected."""
        prefill = prefill_cost(requests, self.block_size)
        return Cost(prefill, self._seconds(prefill, sum(self.model.answer_tokens(one.task, one.stage) for one in requests)))

    def expected(self, prefill: int, reviews: int, tasks: Iterable[str], chunk_tokens: int) -> float:
        """Seconds of a restaurant of which only the estimate is known: a label a review, a text a chunk and task. Of other tasks than those
        over reviews the prompt alone; nothing of one that nothing is asked about."""
        tokens, tasks = self.model.answer_tokens, set(tasks)
        readings = max(bool(tasks & {"sentiment", "strengths"}) + bool(tasks & {"summary", "strengths"}), 1)
        chunks = max(1, ceil(prefill / readings / (CHUNK_FILL * chunk_tokens)))
        answers = {
            "sentiment": reviews * tokens("sentiment", "label"),
            "summary": chunks * tokens("summary", "part"),
            "strengths": chunks * tokens("strengths", "find") + reviews * tokens("strengths", "praise"),
        }
        if not prefill:
            return 0.0
        again = PRAISED / readings if "strengths" in tasks else 0.0
        return self._seconds(prefill * (1 + again), sum(answers.get(name, 0.0) for name in tasks))

    def answered(self, request: Request, answer: Answer) -> float:
        """Seconds of one request as `expected` counts: without tokens from the cache."""
        return self._seconds(len(request.prompt) - answer.cached_tokens, answer.output_tokens)

    @property
    def chain_s(self) -> float:
        """Seconds from a restaurant's first step to its last answer at the most, even where nobody is ahead of it: a token a step, and
        each step filled up with the prompts of others, which going first does not keep away."""
        longest = max(sum(self.model.answer_tokens(*one) for one in chain) for chain in CHAINS)
        return longest * self.model.seconds(max(self.step_tokens - self.batch, 0), self.batch, 1)

    def _seconds(self, prefilled: float, decoded: float) -> float:
        return self.model.seconds(prefilled, decoded, decoded / self.batch)


class Forecast:
    """What is open, and how fast it goes. Predicted seconds times `pace` are those of this run: the seconds since its first answer by those
    predicted for what was answered since."""

    def __init__(self, predictor: Predictor, clock: Clock) -> None:
        self._predictor, self._clock = predictor, clock
        self._open: dict[str, float] = {}
        self._open_s = 0.0  # their sum
        self._first_s: float | None = None
        self._answered = 0.0

    def opened(self, restaurant_id: str, seconds: float) -> None:
        """A restaurant whose requests are asked from now on."""
        self._open[restaurant_id] = seconds
        self._open_s += seconds

    def answered(self, request: Request, answer: Answer) -> None:
        """By the engine."""
        seconds = self._predictor.answered(request, answer)
        if self._first_s is None:
            self._first_s = self._clock.now_s
        else:
            self._answered += seconds
        less = min(seconds, self._open.get(request.restaurant_id, 0.0))
        if less:
            self._open[request.restaurant_id] -= less
            self._open_s -= less

    def closed(self, restaurant_id: str) -> None:
        """Its last answer is in."""
        self._open_s = max(self._open_s - self._open.pop(restaurant_id, 0.0), 0.0)

    @property
    def pace(self) -> float:
        """1 where the model is right, 2 where everything takes twice as long; 1 before enough was answered."""
        measured = 0.0 if self._first_s is None else self._clock.now_s - self._first_s
        return measured / self._answered if self._answered and measured >= LEAST_MEASURED_S else 1.0

    def finish_s(self, ahead: Seconds) -> Seconds:
        """Seconds from the run's start until what is open and `ahead` (predicted seconds, own work included) are done, at the latest."""
        return (ahead + self._open_s) * (self.pace * SAFETY) + (self._clock.now_s + self._predictor.chain_s * self.pace)
