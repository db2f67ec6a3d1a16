"""The model of a run: its files at once, its tokenizer and its engine only when something is asked of them.

A run that finds everything done or stored loads nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

from pipeline.engine import Engine
from pipeline.manifest import digest
from pipeline.models import Model
from pipeline.records import Answer, Request
from pipeline.tokens import Tokens
from pipeline.without_weights import without_torch


class Machine(Protocol):
    """What a command says about model and engine. `answer_settings`: settings of the engine on which answers depend."""

    @property
    def max_model_len(self) -> int: ...
    @property
    def window(self) -> int: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def answer_settings(self) -> Mapping[str, Any]: ...
    def model(self) -> Model: ...
    def engine(self, model: Model) -> Engine: ...


class Runtime:
    """One machine's model, tokenizer and engine."""

    def __init__(self, machine: Machine) -> None:
        """Finds the model's files; converts or downloads them where that is needed. Raises BadConfiguration."""
        self.machine = machine
        self.model = machine.model()
        self.engine = DeferredEngine(lambda: machine.engine(self.model), machine.max_model_len, machine.window)

    @property
    def identity(self) -> str:
        """Digest of what an answer depends on beside its request: model, revision, settings."""
        return digest([self.model.revision, dict(self.machine.answer_settings)])

    @cached_property
    def tokens(self) -> Tokens:
        """The model's tokenizer."""
        return Tokens(self.model.folder)


class Weightless(Runtime):
    """A runtime that computes nothing: its machine's model may come without weights, and its tokenizer without torch."""

    @cached_property
    def tokens(self) -> Tokens:
        with without_torch():
            return super().tokens


class DeferredEngine:
    """An engine that is loaded with the first request it is given."""

    def __init__(self, load: Callable[[], Engine], max_model_len: int, window: int) -> None:
        self.max_model_len, self.window = max_model_len, window
        self.loaded_s = 0.0
        """Seconds that loading took; 0 where nothing was asked."""
        self._load = load
        self._loaded: Engine | None = None

    @property
    def unfinished(self) -> int:
        return self._loaded.unfinished if self._loaded else 0

    def submit(self, request: Request, rank: int) -> Answer | None:
        if self._loaded is None:
            began = time.monotonic()
            self._loaded = self._load()
            self.loaded_s = round(time.monotonic() - began, 3)
        return self._loaded.submit(request, rank)

    def step(self) -> Sequence[Answer]:
        return self._loaded.step() if self._loaded else ()

    def abort(self) -> None:
        if self._loaded is not None:
            self._loaded.abort()
