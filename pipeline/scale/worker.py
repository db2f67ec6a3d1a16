"""A worker: one engine that answers pieces, in a process of its own on whatever machine there is room."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl

from pipeline.answering import answer_all
from pipeline.basis import Basis, program
from pipeline.collected import Collected
from pipeline.errors import TryAgain
from pipeline.job import Far, Job, Silent, Stop
from pipeline.order import ORDERS
from pipeline.records import Answer, Outcome, Request, Restaurant
from pipeline.runtime import Machine, Runtime
from pipeline.scale.inside import Noted
from pipeline.scale.piece import Done, Piece, Rows, dump_of
from pipeline.schedule import Schedule
from pipeline.store import Store
from pipeline.stored import Begun

FOLDER = "review-digest-worker-"
LEFT_S = 86_400
"""After which the folder of a worker that was killed is removed by the next one on its machine."""


class Worker:
    """Answers of all its pieces go to the job's store, so that a piece that somebody else has begun goes on where it ended."""

    def __init__(self, machine: Machine, job: Job, order: str) -> None:
        _remove_leftovers()
        self._folder = Path(tempfile.mkdtemp(prefix=FOLDER))
        self._note = self._folder / "inside.json"
        self._machine, self._job, self._order = machine, job, ORDERS[order]
        self._count, self._stop = _Count(), _Asked()
        self._store: Store | None = None

    def where(self) -> tuple[str, str, str]:
        """The name of its machine, Ray's of it, and the file there that tells what is inside its engine."""
        import ray

        return socket.gethostname(), ray.get_runtime_context().get_node_id(), str(self._note)

    def keep_to(self, rank: int, cores: int) -> None:
        """So many of its machine's cores, other ones than workers of other ranks there; before the engine is loaded."""
        if mine := sorted(os.sched_getaffinity(0))[rank * cores : (rank + 1) * cores]:
            for thread in Path("/proc/self/task").iterdir():
                os.sched_setaffinity(int(thread.name), mine)

    def load(self) -> tuple[float, Basis]:
        """Finds the model's files and loads the engine; the seconds that it took, and what this worker is. Raises BadConfiguration."""
        self._runtime = Runtime(self._machine, around=lambda engine: Noted(engine, self._runtime.identity, self._note))
        engine = self._runtime.engine
        seconds = engine.loaded_s if engine.loaded else 0.0
        return seconds, program(self._runtime.identity, self._job.tasks)

    def answer(self, piece: Piece, rows: Rows) -> Done:
        """All that is to be found out of a piece. Raises EngineDied, TryAgain."""
        runtime, engine, store = self._runtime, self._runtime.engine, self._open(piece.begun)
        if piece.deaths:
            store.refresh()  # what those who died have answered is there
        store.know(piece.suspects)
        had = store.counts
        spent, schedule = engine.steps.spent, Schedule(self._order, self._job.priorities, self._runtime.predictor(piece.rates))
        job = replace(self._job, limits=piece.limit.here())
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            dump = dump_of(rows, Path(scratch))
            asked = dump, job, schedule, piece.fits, piece.marks, piece.comparing
            answered = answer_all(*asked, runtime, store, self._count, self._stop)
            store.flush()
            tables = _tables(answered.found)
        steps, now = engine.steps, store.counts
        served = {name: now[name] - had[name] for name in now}
        return Done(piece.number, *tables, answered.first_request, answered.idle_s, steps.since(spent), steps.spent - spent, served)

    def _open(self, begun: Begun | None) -> Store:
        """The job's store, or one of this worker's own, in which nothing is earlier than the run. Raises BadConfiguration, TryAgain."""
        if self._store is None:
            identity, common = self._runtime.identity, self._job.store
            self._store = Store(common, identity, fresh=begun or False) if common else Store(self._folder / "store", identity)
        return self._store

    def step(self, new: Sequence[tuple[Request, int]]) -> list[Answer]:
        """Takes requests with their ranks and computes a little, for a loop that runs elsewhere. Raises EngineDied."""
        refused = [answer for request, rank in new if (answer := self._runtime.engine.submit(request, rank))]
        return [*refused, *self._runtime.engine.step()]

    def abort(self) -> None:
        """Gives up what is inside."""
        self._runtime.engine.abort()

    def far(self) -> Far:
        """What it has done so far, of all pieces. Called beside `answer`."""
        return self._count.far

    def stop(self) -> None:
        """Ends `answer` at its next step. Called beside it."""
        self._stop.asked = True

    def close(self) -> None:
        """Writes the answers that are not yet written."""
        if self._store is not None:
            self._store.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _tables(found: Collected) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Restaurants, reviews, requests, comparisons."""
    parts = [found.part(number, pl.DataFrame()) for number in range(len(found.ranges))]
    restaurants, reviews, requests = (
        pl.concat([getattr(one, name) for one, _ in parts]) for name in ("restaurants", "reviews", "requests")
    )
    return restaurants, reviews, requests, pl.concat([second for _, second in parts])


def _remove_leftovers() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        try:
            if time.time() - folder.stat().st_mtime > LEFT_S:
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # another worker was faster
            continue


class _Asked(Stop):
    asked = False

    def __call__(self) -> None:
        if self.asked:
            raise TryAgain("the worker was asked to stop; run the same command again")


class _Count(Silent):
    """Adds up how far the worker is."""

    def __init__(self) -> None:
        self._admitted = self._asked = self._answered = self._finished = 0

    @property
    def far(self) -> Far:
        return Far(self._admitted, self._asked, self._answered, self._finished)

    def admitted(self, restaurant: Restaurant) -> None:
        self._admitted += restaurant.prompt_tokens

    def asked(self, request: Request) -> None:
        self._asked += len(request.prompt)

    def answered(self, request: Request, answer: Answer) -> None:
        self._answered += len(request.prompt)

    def finished(self, outcome: Outcome) -> None:
        self._finished += 1
