"""An engine that computes nothing and answers at once: what is left of a run's time is the pipeline's own.

Its labels come from the words that labelled reviews have (naive Bayes), so that the calibration finds a model that reads them, and
restaurants get summaries and strengths as with a real one.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np

from pipeline.records import Answer, Request
from pipeline.tasks.sentiment import QUESTIONS
from pipeline.tokens import Tokens

GOOD, BAD = QUESTIONS["en"].words["satisfied"], QUESTIONS["en"].words["dissatisfied"]
OTHERWISE = "It is praised for its food."
SAID, MOST_WORDS = 3, 8
"""Sentences of a chunk that its answers repeat; words of a claim."""
_SENTENCE, _LETTERS = re.compile(r"[^.!?\n]+[.!?]"), re.compile(r"[^\W\d_]+")


class InstantEngine:
    """`busy_s`: processor seconds spent in here, which are not the pipeline's."""

    def __init__(self, tokens: Tokens, labelled: Iterable[tuple[str, bool]], max_model_len: int = 4096, max_num_seqs: int = 256) -> None:
        """`labelled`: reviews, and whether their guests were satisfied."""
        began = time.thread_time()
        self.max_model_len, self.window = max_model_len, 2 * max_num_seqs
        self._tokens = tokens
        self.answered = 0
        self._per_step = max_num_seqs
        self._inside: deque[Request] = deque()
        seen = np.full((2, 1 << 20), 0.5)
        for text, good in labelled:
            (encoded,) = tokens.encode([text])
            seen[int(good), np.unique(encoded.ids)] += 1
        self._worth = np.log(seen[1] / seen[0])
        self._words = {i: (1.0 if word in GOOD else -1.0) for word in (*GOOD, *BAD) if (i := tokens.word(word)) is not None}
        self.busy_s = time.thread_time() - began

    @property
    def unfinished(self) -> int:
        return len(self._inside)

    def submit(self, request: Request, rank: int) -> Answer | None:
        self._inside.append(request)
        return None

    def step(self) -> Sequence[Answer]:
        began = time.thread_time()
        some = [self._inside.popleft() for _ in range(min(self._per_step, len(self._inside)))]
        answers = [self._answer(request) for request in some]
        self.answered += len(answers)
        self.busy_s += time.thread_time() - began
        return answers

    def abort(self) -> None:
        self._inside.clear()

    def _answer(self, request: Request) -> Answer:
        text, chosen = ("", self._choose(request)) if request.sampling.choices else (self._say(request), {})
        return Answer(
            request.key,
            text,
            chosen,
            prompt_tokens=len(request.prompt),
            output_tokens=1 if chosen else 20,
            queue_s=0.0,
            prefill_s=0.0,
            decode_s=0.0,
            finish_reason="stop",
            first_token_s=0.0,
        )

    def _say(self, request: Request) -> str:
        """Sentences of the prompt's own reviews, chosen by its key: no two restaurants get the same, and most are supported."""
        said = self._tokens.text(request.prompt[request.common :]) if request.stage in ("part", "merge", "find") else ""
        sentences = _SENTENCE.findall(said)
        if not sentences:
            return OTHERWISE
        some = [sentences[(int(request.key[:8], 16) + 7 * number) % len(sentences)] for number in range(SAID)]
        if request.stage == "find":
            return json.dumps([" ".join(_LETTERS.findall(one)[:MOST_WORDS]) for one in some])
        return "\n".join(f"- {one.partition('] ')[2] or one}" for one in some)

    def _choose(self, request: Request) -> dict[int, float]:
        """Choices that are words of praise are as likely as the prompt beyond its common part is good; all others are alike."""
        worth = float(self._worth[request.prompt[request.common :]].sum())
        raw = [self._words.get(choice, 0.0) * worth for choice in request.sampling.choices]
        most = max(raw)
        total = most + math.log(sum(math.exp(value - most) for value in raw))
        return {choice: value - total for choice, value in zip(request.sampling.choices, raw, strict=True)}
