"""The model of a run: its files at once, its tokenizer and its engine only when something is asked of them.

A run that finds everything done or stored loads nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from pipeline.costs import CostModel
from pipeline.digest import digest
from pipeline.engine import Engine, Restartable
from pipeline.engine_settings import Feed
from pipeline.forecast import Predictor
from pipeline.models import Model
from pipeline.records import Answer, Request
from pipeline.steps import Recording, Spent, StepLog
from pipeline.tokens import Tokens
from pipeline.without_weights import without_torch


class Machine(Protocol):
    """What a command says about model and engine. `block_size`: tokens of a block of the prefix cache, None where it is off.
    `step_tokens`: of prompts and answers that a step computes at most; `max_num_seqs`: requests in it. `answer_settings`: settings of the
    engine on which answers depend."""

    @property
    def max_model_len(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def block_size(self) -> int | None: ...
    @property
    def max_num_seqs(self) -> int: ...
    @property
    def step_tokens(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def answer_settings(self) -> Mapping[str, Any]: ...
    def model(self) -> Model: ...
    def engine(self, model: Model) -> Engine: ...


def identity_of(machine: Machine, model: Model) -> str:
    """Digest of what an answer depends on beside its request: model, revision, settings."""
    return digest([model.revision, dict(machine.answer_settings)])


class Runtime:
    """One machine's model, tokenizer and engine."""

    def __init__(
        self,
        machine: Machine,
        loaded: Callable[[float], None] = lambda _: None,
        around: Callable[[Engine], Engine] = lambda engine: engine,
    ) -> None:
        """Finds the model's files; converts or downloads them where that is needed. `loaded` is told when the engine is there, and the
        seconds that it took; `around`: what requests go through on their way to it. Raises BadConfiguration."""
        self.machine = machine
        self.model = machine.model()
        self.engine = DeferredEngine(lambda: around(machine.engine(self.model)), machine.max_model_len, machine.window, loaded)
        self._tokens_s = 0.0

    @property
    def identity(self) -> str:
        """Of its answers."""
        return identity_of(self.machine, self.model)

    def predictor(self, model: CostModel) -> Predictor:
        """Of what this machine takes for requests."""
        machine = self.machine
        return Predictor(model, machine.max_num_seqs, machine.block_size, machine.step_tokens)

    @cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer."""
        began = time.monotonic()
        tokens = Tokens(self.model.folder)
        self._tokens_s = time.monotonic() - began
        return tokens

    @property
    def loaded_s(self) -> float:
        """Seconds that loading the tokenizer and the engine took so far."""
        return self._tokens_s + self.engine.loaded_s


class Weightless(Runtime):
    """A runtime that computes nothing: its machine's model may come without weights, and its tokenizer without torch."""

    @cached_property
    def tokens(self) -> Tokens:
        with without_torch():
            return super().tokens


class DeferredEngine:
    """An engine that is loaded with the first request it is given."""

    def __init__(self, load: Callable[[], Engine], max_model_len: int, window: int, told: Callable[[float], None] = lambda _: None) -> None:
        self.max_model_len, self.window = max_model_len, window
        self.loaded_s = 0.0
        """Seconds that loading took; 0 where nothing was asked."""
        self._load, self._told = load, told
        self._loaded: Engine | None = None
        self._around: Engine | None = None
        self._spent_before = Spent()

    @property
    def unfinished(self) -> int:
        serving = self._around or self._loaded
        return serving.unfinished if serving else 0

    @property
    def steps(self) -> StepLog:
        """Those of the engine; none before it is loaded, or where it does not write them down."""
        return self._loaded.steps if isinstance(self._loaded, Recording) else StepLog()

    @property
    def spent(self) -> Spent:
        """In this run; an engine that was loaded before may have served others."""
        return self.steps.spent - self._spent_before

    @property
    def kv_blocks(self) -> int | None:
        """Blocks that its KV cache holds; None where nothing was asked, or it does not say."""
        return self._loaded.kv_blocks if isinstance(self._loaded, Restartable) else None

    @property
    def loaded(self) -> Engine:
        """The engine, loaded now if it was not."""
        if self._loaded is None:
            began = time.monotonic()
            self._loaded = self._load()
            self.loaded_s = round(time.monotonic() - began, 3)
            self._spent_before = self.steps.spent
            self._told(self.loaded_s)
        return self._loaded

    def start_over(self, feed: Feed, as_text: bool = False, around: Callable[[Engine], Engine] | None = None) -> int | None:
        """Loads the engine if need be, forgets all prefixes and feeds it in this way; the blocks that its KV cache holds. `around`: what
        requests go through on their way to it. Raises TypeError for an engine that cannot start over."""
        engine = self.loaded
        if not isinstance(engine, Restartable):
            raise TypeError(f"{type(engine).__name__} cannot start over")
        engine.start_over(feed, as_text)
        self._around = around(self.loaded) if around else None
        self.window = engine.window
        return engine.kv_blocks

    def submit(self, request: Request, rank: int) -> Answer | None:
        return (self._around or self.loaded).submit(request, rank)

    def step(self) -> Sequence[Answer]:
        serving = self._around or self._loaded
        return serving.step() if serving else ()

    def abort(self) -> None:
        if self._around is not None:
            self._around.abort()
        elif self._loaded is not None:
            self._loaded.abort()
