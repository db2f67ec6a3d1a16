"""Ways to ask an engine the same questions, from the one that this job replaces to its own: what `benchmark ways` compares.

All four go through the same plans and the same loop; what differs is in which order, in what portions and in which words the requests
reach the engine. All ask a question that two tasks have once, and all have vLLM's prefix cache.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import numpy as np

from pipeline.engine import Engine
from pipeline.engine_settings import Feed
from pipeline.errors import BadConfiguration
from pipeline.order import ORDERS, TASK_RANK, Order
from pipeline.order_trials import Setting
from pipeline.records import Answer, Request, TokenIds
from pipeline.tasks.prompts import SYSTEM
from pipeline.tokens import Tokens, concatenate

BATCH = 50
"""Requests of a batch at most: the chunks of the system before this one."""


@dataclass(frozen=True, slots=True)
class Way:
    """One of them. `instruction_first`: in prompts over a chunk. `one_by_one`: see OneByOne. `as_text`: the engine tokenises."""

    name: str
    order: Order
    feed: Feed
    instruction_first: bool = False
    one_by_one: bool = False
    as_text: bool = False

    def setting(self, words: InstructionFirst) -> Setting:
        """For a trial."""
        return Setting(self.order, self.feed, partial(self._around, words=words), self.as_text, self.name)

    def asked(self, request: Request, words: InstructionFirst) -> Request:
        """A request as this way words it."""
        return words(request) if self.instruction_first else request

    def _around(self, engine: Engine, words: InstructionFirst) -> Engine:
        worded = Reworded(engine, words) if self.instruction_first else engine
        return OneByOne(worded) if self.one_by_one else worded


WAYS = (
    Way("one by one", ORDERS["fifo"], "generate", instruction_first=True, one_by_one=True, as_text=True),
    Way("by stage", ORDERS["fifo"], "generate", instruction_first=True),
    Way("by stage, our prompts", ORDERS["fifo"], "generate"),
    Way("pipeline", ORDERS["restaurant"], "continuous"),
)
"""`one by one`: one restaurant after another, one task after another, an `LLM.generate` for each batch of what the task has to ask, the
instruction before the reviews, prompts as text. `by stage`: one `LLM.generate` for everything that can be asked of all restaurants, then
one for all that follows from the answers, and so on, in the order of the file, the instruction first. `by stage, our prompts`: the same
with the instruction last. `pipeline`: this job."""
ABOVE = {" above": " below", "위 ": "아래 "}
"""What an instruction behind the reviews says of them, and what one before them says."""


class Reworded:
    """Requests on their way to an engine, each in other words; its answer is that of the request that came."""

    def __init__(self, engine: Engine, words: Callable[[Request], Request]) -> None:
        self._engine, self._words = engine, words
        self.max_model_len, self.window = engine.max_model_len, engine.window

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished

    def submit(self, request: Request, rank: int) -> Answer | None:
        return self._engine.submit(self._words(request), rank)

    def step(self) -> Sequence[Answer]:
        return self._engine.step()

    def abort(self) -> None:
        self._engine.abort()


class InstructionFirst:
    """Puts the instruction of a prompt over a chunk before its reviews, in words that fit there. Prompts that are not over a chunk stay as
    they are: of a question with one token as its answer the end is what the model goes on from. Raises BadConfiguration for a chat format
    that cannot be taken apart."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens, self._after = tokens, tokens.chat(SYSTEM["en"])[1]
        self._moved: dict[bytes, tuple[TokenIds, TokenIds]] = {}

    def __call__(self, request: Request) -> Request:
        if not request.shared:
            return request
        before, reviews, tail = np.split(request.prompt, [request.common, request.shared])
        key = tail.tobytes()
        if key not in self._moved:
            self._moved[key] = self._split(tail)
        instruction, rest = self._moved[key]
        return replace(request, prompt=concatenate(before, instruction, reviews, rest), common=request.common + len(instruction), shared=0)

    def _split(self, tail: TokenIds) -> tuple[TokenIds, TokenIds]:
        """The instruction as it stands before reviews, and what follows them: the end of the message, and the beginning of the answer."""
        said, mark, start = self._tokens.text(tail).rpartition(self._after)
        if not mark or not said.strip():
            raise BadConfiguration(
                "this model's chat format cannot be taken apart, so no instruction can go first; compare another --model"
            )
        for above, below in ABOVE.items():
            said = said.replace(above, below)
        return self._tokens.part(f"{said.strip()}\n\n"), self._tokens.part(mark + start)


class OneByOne:
    """Asks for one task of one restaurant at a time, at most BATCH questions at once, and takes no others before all of them are answered.
    Needs an engine that computes all it was given in one `step`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.max_model_len, self.window = engine.max_model_len, engine.window
        self._waiting: list[tuple[tuple[int, str, int], int, Request, int]] = []  # a heap
        self._numbers = count()

    @property
    def unfinished(self) -> int:
        return len(self._waiting)

    def submit(self, request: Request, rank: int) -> Answer | None:
        batch = (rank, request.restaurant_id, TASK_RANK[request.task])
        heapq.heappush(self._waiting, (batch, next(self._numbers), request, rank))
        return None

    def step(self) -> Sequence[Answer]:
        refused: list[Answer] = []
        batch, asked = self._waiting[0][0] if self._waiting else None, 0
        while self._waiting and self._waiting[0][0] == batch and asked < BATCH:
            _, _, request, rank = heapq.heappop(self._waiting)
            asked += 1
            answer = self._engine.submit(request, rank)
            if answer is not None:
                refused.append(answer)
        return [*refused, *self._engine.step()]

    def abort(self) -> None:
        self._waiting = []
        self._engine.abort()
