"""Which requests are inside an engine, in a file that outlives its process: when a worker is killed, they are the ones to suspect."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.engine import Engine
from pipeline.records import Answer, Request
from pipeline.steps import Recording, StepLog
from pipeline.stored import stored_key
from pipeline.suspects import Suspect


class Noted:
    """An engine that notes what it holds before each of its steps (tens of microseconds)."""

    def __init__(self, engine: Engine, identity: str, path: Path) -> None:
        """`identity`: of the store's answers."""
        self._engine, self._identity, self._path = engine, bytes.fromhex(identity), path
        self.max_model_len, self.window = engine.max_model_len, engine.window
        self._inside: dict[str, str] = {}
        self._noted: frozenset[str] = frozenset()
        path.write_text("[]")

    @property
    def steps(self) -> StepLog:
        """Those of the engine; none where it does not write them down."""
        return self._engine.steps if isinstance(self._engine, Recording) else StepLog()

    @property
    def unfinished(self) -> int:
        return self._engine.unfinished

    def submit(self, request: Request, rank: int) -> Answer | None:
        refused = self._engine.submit(request, rank)
        if refused is None:
            self._inside[request.key] = request.restaurant_id
        return refused

    def step(self) -> Sequence[Answer]:
        self._note()
        answers = self._engine.step()
        for answer in answers:
            self._inside.pop(answer.key, None)
        return answers

    def abort(self) -> None:
        self._engine.abort()
        self._inside = {}
        self._note()

    def _note(self) -> None:
        if (now := frozenset(self._inside)) != self._noted:
            listed: list[Suspect] = [(stored_key(self._identity, key).hex(), name) for key, name in self._inside.items()]
            scratch = self._path.with_suffix(".new")
            scratch.write_text(json.dumps(listed))
            scratch.replace(self._path)  # a kill leaves the list before or this one
            self._noted = now


def noted(path: Path) -> list[Suspect]:
    """What an engine held when its process ended, for good; nothing where there is no such note."""
    try:
        found = [(str(key), str(restaurant)) for key, restaurant in json.loads(path.read_text())]
        path.unlink()
    except (OSError, ValueError, TypeError):
        return []
    return found
