"""An engine without a model, for tests of the loop's logic only: the answer depends on the request alone, the moment on a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from pipeline.records import Answer, Request


def default_text(request: Request) -> str:
    """Something that every task's form accepts."""
    if request.task == "strengths":
        return '["Dish was fine", "invented praise only"]'
    return f"- fact {request.key[:6]} of these guests\n- another fact {request.key[6:12]}"


class DeterministicEngine:
    """Answers up to `per_step` requests a step, in rank order or, with a seed, in any order."""

    def __init__(
        self,
        window: int = 8,
        per_step: int = 3,
        max_model_len: int = 4096,
        seed: int | None = None,
        text: Callable[[Request], str] = default_text,
        fail: Callable[[Request], bool] = lambda request: False,
        cut: Callable[[Request], bool] = lambda request: False,
    ) -> None:
        self.window, self.max_model_len = window, max_model_len
        self.submitted: list[Request] = []
        self.ranks: list[int] = []
        self.most_unfinished = 0
        self._inside: list[tuple[int, int, Request]] = []
        self._per_step, self._text, self._fail, self._cut = per_step, text, fail, cut
        self._random = random.Random(seed) if seed is not None else None

    @property
    def unfinished(self) -> int:
        return len(self._inside)

    def submit(self, request: Request, rank: int) -> Answer | None:
        if any(request.key == other.key for _, _, other in self._inside):
            raise AssertionError("the same question twice at the same time")
        self._inside.append((rank, len(self.submitted), request))
        self.submitted.append(request)
        self.ranks.append(rank)
        self.most_unfinished = max(self.most_unfinished, len(self._inside))
        return None

    def step(self) -> Sequence[Answer]:
        if self._random:
            self._random.shuffle(self._inside)
        else:
            self._inside.sort(key=lambda entry: entry[:2])
        done, self._inside = self._inside[: self._per_step], self._inside[self._per_step :]
        return [self._answer(request) for _, _, request in done]

    def abort(self) -> None:
        self._inside = []

    def _answer(self, request: Request) -> Answer:
        size = len(request.prompt)
        if self._fail(request):
            return Answer(request.key, prompt_tokens=size, error="made to fail")
        if request.sampling.choices:
            value = int(request.key[:4], 16) / 65536
            logprobs = {token: -1.0 - value * (i + 1) for i, token in enumerate(request.sampling.choices)}
            return Answer(request.key, logprobs=logprobs, prompt_tokens=size, output_tokens=1, finish_reason="stop")
        reason = "length" if self._cut(request) else "stop"
        return Answer(request.key, self._text(request), prompt_tokens=size, output_tokens=12, finish_reason=reason)
