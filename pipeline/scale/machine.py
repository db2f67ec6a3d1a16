"""A machine that is many: the run's own requests go to one of its workers, a whole dump to all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pipeline.answering import Answered, answer_all, nothing_to_ask
from pipeline.basis import program
from pipeline.beside import Beside
from pipeline.comparing import Comparing
from pipeline.dump import Dump
from pipeline.errors import EngineDied
from pipeline.job import Job, Progress, Stop
from pipeline.models import Model
from pipeline.records import Answer, Request
from pipeline.runtime import Machine, Runtime, identity_of
from pipeline.scale.answers import answer_on
from pipeline.scale.cluster import Room
from pipeline.scale.pool import Pool
from pipeline.schedule import Schedule
from pipeline.steps import StepLog
from pipeline.store import Store
from pipeline.tasks.calibration import Fit

MOST_WORKERS = 3
"""That may die of the same requests of the run's own."""


class ManyWorkers:
    """Workers are started with the first question, and end with `close`."""

    def __init__(self, here: Machine, one: Machine, room: Room, job: Job, order: str, warn: Callable[[str], None]) -> None:
        """`one`: the machine that each worker is; `here`: the same where the run itself is, for the tokenizer."""
        self._one = here
        self._start: Callable[[str], Pool] = lambda identity: Pool(
            room, one, replace(job, inputs=(), queries=()), order, program(identity, job.tasks), warn
        )
        self._pool: Pool | None = None

    @property
    def max_model_len(self) -> int:
        return self._one.max_model_len

    @property
    def window(self) -> int:
        return self._one.window

    @property
    def block_size(self) -> int | None:
        return self._one.block_size

    @property
    def max_num_seqs(self) -> int:
        return self._one.max_num_seqs

    @property
    def step_tokens(self) -> int:
        return self._one.step_tokens

    @property
    def settings(self) -> Mapping[str, Any]:
        return self._one.settings

    @property
    def answer_settings(self) -> Mapping[str, Any]:
        return self._one.answer_settings

    def model(self) -> Model:
        return self._one.model()

    def engine(self, model: Model) -> EngineOfMany:
        """One of the workers', for the run's own requests. Raises BadConfiguration, TryAgain."""
        self._pool = self._start(identity_of(self._one, model))
        return EngineOfMany(self._pool, self._one)

    def answer_all(
        self,
        dump: Dump,
        job: Job,
        schedule: Schedule,
        fits: Mapping[str, Fit],
        fingerprints: Mapping[str, str],
        comparing: Comparing,
        runtime: Runtime,
        store: Store,
        progress: Progress,
        stop: Stop,
        beside: Beside | None = None,
    ) -> Answered:
        """As `answering.answer_all`, by all workers."""
        asked = dump, job, schedule, fits, fingerprints, comparing
        if nothing_to_ask(dump, comparing, beside):
            return answer_all(*asked, runtime, store, progress, stop, beside)
        engine = runtime.engine.loaded
        assert isinstance(engine, EngineOfMany)
        return answer_on(engine.pool, engine.steps, *asked, runtime, store, progress, stop, beside)

    def close(self) -> None:
        """Ends the workers; what they have not written they write."""
        if self._pool is not None:
            self._pool.close()


class EngineOfMany:
    """`steps`: of all workers."""

    def __init__(self, pool: Pool, one: Machine) -> None:
        self.pool, self.steps = pool, StepLog()
        self.max_model_len, self.window = one.max_model_len, one.window
        self._inside: dict[str, tuple[Request, int]] = {}
        self._new: list[tuple[Request, int]] = []

    @property
    def unfinished(self) -> int:
        return len(self._inside)

    def submit(self, request: Request, rank: int) -> Answer | None:
        self._inside[request.key] = request, rank
        self._new.append((request, rank))
        return None

    def step(self) -> Sequence[Answer]:
        """Where a worker dies another one is asked all that it held. Raises EngineDied when several have died of it, TryAgain."""
        new, self._new = self._new, []
        for left in reversed(range(MOST_WORKERS)):
            try:
                answers = self.pool.step(new)
                break
            except EngineDied:
                if not left:
                    raise
                new = list(self._inside.values())
        for answer in answers:
            del self._inside[answer.key]
        return answers

    def abort(self) -> None:
        self.pool.abort()
        self._inside, self._new = {}, []
