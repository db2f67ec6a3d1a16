"""Continuous batching step by step, by the rules of vLLM's scheduler (0.32, `vllm/v1/core/sched/scheduler.py`).

A step serves what is running first, in the order in which it was let in: every answer under way makes one token, a prompt that did not fit
the step before goes on. What is left of the step's tokens goes to the queue, by rank or first come, first served, while fewer than
`max_num_seqs` run. A prompt's last step makes its answer's first token. A request of one token is gone after that step. Where blocks run
out, the request of the highest rank is put back into the queue and computed again.

Steps in which answers only go on, one token each, are passed over together: an event is a prompt, an end, or a block that is needed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import Any

from pipeline.costs import CostModel
from pipeline.errors import BadConfiguration
from pipeline.simulation.blocks import Blocks, Piece


@dataclass(frozen=True, slots=True)
class Shape:
    """Settings of an engine that decide which step does what. `blocks`: of `block_size` tokens that the KV cache holds, None for more than
    are ever needed. `priority`: its queue goes by rank, else first come, first served. `window`: requests inside it at once. `caches`:
    prefixes."""

    max_num_seqs: int
    max_num_batched_tokens: int
    block_size: int
    blocks: int | None
    window: int
    priority: bool = True
    caches: bool = True


class Call:
    """One request inside. `owner`: whatever its caller wants back. `made`: tokens of its answer that it had when it was put back last;
    `cached`: prompt tokens that hit when it was let in first; `first_s`: when its first token was there. `number` by submission, `entered`
    by when it was let in last."""

    __slots__ = (  # noqa: RUF023 - as they are told of above
        "prompt",
        "output",
        "chain",
        "rank",
        "owner",
        "number",
        "entered",
        "sent_s",
        "first_s",
        "cached",
        "own",
        "made",
        "epoch",
        "end",
        "grow",
    )

    def __init__(self, prompt: int, output: int, chain: Sequence[Piece], rank: int, owner: Any) -> None:
        self.prompt, self.output, self.chain, self.rank, self.owner = prompt, max(output, 1), chain, rank, owner
        self.cached = -1
        self.epoch = self.made = self.own = self.end = self.grow = self.number = self.entered = 0
        self.first_s = self.sent_s = 0.0


class SimulatedEngine:
    """`now_s`: seconds of its own clock; `steps`, `prefilled`, `decoded`: what it has done until then; `put_back`: requests that had to
    leave for want of blocks, each time counted."""

    def __init__(self, shape: Shape, model: CostModel) -> None:
        """Raises ValueError where a step could not hold a token of every sequence."""
        if shape.max_num_batched_tokens < shape.max_num_seqs:
            raise ValueError(f"steps of {shape.max_num_batched_tokens} tokens are too small for {shape.max_num_seqs} sequences")
        self._shape, self._model = shape, model
        self._blocks = Blocks(shape.block_size, shape.blocks)
        self._queue: list[tuple[int, int, Call]] = []  # a heap
        self._first_come: deque[Call] = deque()
        self._running: dict[Call, None] = {}
        self._half: tuple[Call, int] | None = None  # the prompt that goes on next step, and its tokens still to be computed
        self._events: list[tuple[int, int, int, Call]] = []  # step, entry, epoch: ends, and blocks needed
        self._numbers, self._entries = count(), count()
        self._full = False  # the next in the queue does not fit the blocks that are free
        self.now_s = 0.0
        self.steps = self.prefilled = self.decoded = self.put_back = 0

    @property
    def unfinished(self) -> int:
        """Requests inside."""
        return len(self._running) + len(self._queue) + len(self._first_come)

    def submit(self, call: Call) -> None:
        """Takes a request. Raises BadConfiguration where its prompt and answer could never fit the cache."""
        size = self._shape.block_size
        if self._shape.blocks is not None and -(-(call.prompt + call.output) // size) > self._shape.blocks:
            raise BadConfiguration(
                f"a request of {call.prompt + call.output} tokens does not fit a KV cache of {self._shape.blocks * size}; "
                "raise kv_cache_memory_bytes and max_model_len"
            )
        call.number, call.sent_s = next(self._numbers), self.now_s
        self._enqueue(call)
        self._full = False

    def step(self) -> list[Call]:
        """The next step in which anything begins, ends or needs a block; those before it are passed over. What finished."""
        self._pass_over()
        before = self.put_back
        due = self._due()
        budget = self._shape.max_num_batched_tokens - (len(self._running) - (self._half is not None))
        decoded = self._shape.max_num_batched_tokens - budget
        complete, prefilled = self._prefill(budget, let_in=self.put_back == before)
        decoded += len(complete)
        model = self._model
        self.now_s += model.step_s + model.prefill_s * prefilled + model.decode_s * decoded
        self.prefilled += prefilled
        self.decoded += decoded
        done = [call for call in due if call.end == self.steps]
        for call in complete:
            if not call.made:
                call.first_s = self.now_s
            if call.output - call.made == 1:
                done.append(call)
            else:
                self._go_on(call)
        for call in sorted(done, key=lambda call: call.entered):  # who was let in first gives its blocks back first
            del self._running[call]
            self._blocks.leave(call.chain, call.own, call.prompt + call.output - 1)
        if done:
            self._full = False
        self.steps += 1
        return done

    def _pass_over(self) -> None:
        """Steps until the next event, where nothing can be let in before it."""
        waiting = self._queue or self._first_come
        if self._half or (waiting and not self._full and len(self._running) < self._shape.max_num_seqs) or not self._events:
            return
        while self._events and self._events[0][2] != self._events[0][3].epoch:
            heappop(self._events)
        if not self._events:
            return
        steps = self._events[0][0] - self.steps
        decoded = steps * len(self._running)
        self.now_s += self._model.step_s * steps + self._model.decode_s * decoded
        self.decoded += decoded
        self.steps += steps

    def _due(self) -> list[Call]:
        """Answers with an event in this step, those that need a block with one more; where there is none, somebody is put back."""
        due = []
        while self._events and self._events[0][0] == self.steps:
            _, _, epoch, call = heappop(self._events)
            if epoch == call.epoch:
                due.append(call)
        for call in due:
            if call.grow != self.steps:
                continue
            while call in self._running and not self._blocks.grow():
                self._put_back()
            if call in self._running:
                call.own += 1
        due = [call for call in due if call in self._running]
        for call in due:
            if call.grow == self.steps:
                call.grow += self._shape.block_size
            if call.end != self.steps:
                heappush(self._events, (min(call.grow, call.end), call.entered, call.epoch, call))
        return due

    def _prefill(self, budget: int, let_in: bool) -> tuple[list[Call], int]:
        """Computes prompts with what is left of the step's tokens: those that are complete now, and tokens computed."""
        complete: list[Call] = []
        left, size = budget, self._shape.block_size
        if self._half:
            call, missing = self._half
            left -= min(missing, budget)
            self._half = (call, missing - budget) if missing > budget else None
            if not self._half:
                complete.append(call)
        while let_in and left and (self._queue or self._first_come) and len(self._running) < self._shape.max_num_seqs:
            call = self._queue[0][2] if self._shape.priority else self._first_come[0]
            entered = self._blocks.enter(call.chain, call.prompt + call.made)
            if entered is None:
                self._full = True
                break
            if self._shape.priority:
                heappop(self._queue)
            else:
                self._first_come.popleft()
            hits, call.own = entered
            call.entered = next(self._entries)
            if call.cached < 0:
                call.cached = hits * size
            self._running[call] = None
            missing = call.prompt + call.made - hits * size
            if missing > left:
                self._half = (call, missing - left)
                left = 0
            else:
                left -= missing
                complete.append(call)
        return complete, budget - left

    def _go_on(self, call: Call) -> None:
        """An answer after its first token of this step: when it ends, and when its next block is needed."""
        over = (call.prompt + call.made) % self._shape.block_size
        call.end = self.steps + call.output - call.made - 1
        call.grow = self.steps + (self._shape.block_size - over if over else 0) + 1
        heappush(self._events, (min(call.grow, call.end), call.entered, call.epoch, call))

    def _enqueue(self, call: Call, again: bool = False) -> None:
        if self._shape.priority:
            heappush(self._queue, (call.rank, call.number, call))
        elif again:
            self._first_come.appendleft(call)
        else:
            self._first_come.append(call)

    def _put_back(self) -> None:
        """Makes room: the request of the highest rank, or the last one in, gives its blocks back and is computed again later."""
        ranked = max(self._running, key=lambda call: (call.rank, call.number)) if self._shape.priority else next(reversed(self._running))
        del self._running[ranked]
        if self._half and self._half[0] is ranked:
            self._blocks.give_up(ranked.chain, ranked.own, ranked.prompt + ranked.made - self._half[1])
            self._half = None
        else:
            ranked.made = ranked.output - 1 - (ranked.end - self.steps)
            self._blocks.leave(ranked.chain, ranked.own, ranked.prompt + ranked.made - 1)
        ranked.epoch += 1
        self.put_back += 1
        self._full = False
        self._enqueue(ranked, again=True)
