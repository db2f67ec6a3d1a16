"""The other end of a RunPod endpoint: one engine in this process, and the requests of any number of jobs inside it at once.

The engine has a thread of its own, in which it is made, too: a CPU engine's threads belong to the one that made it. Jobs put their requests
on a heap by rank, and the thread keeps the engine's window full from it, whichever job they are of, so that the batch stays full between
jobs.
"""

from __future__ import annotations

import asyncio
import heapq
import queue
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from itertools import count
from threading import Thread
from typing import Any

from pipeline.engine import Engine
from pipeline.errors import EngineDied
from pipeline.records import Answer, Request
from pipeline.remote import wire
from pipeline.remote.served import Served

Waiting = tuple[int, int, Request, "Future[Answer]"]
"""Rank, number, request under a key of its own, and who waits for its answer."""


class Worker:
    """`handle` is the handler of `runpod.serverless.start`."""

    def __init__(self, make_engine: Callable[[], Engine], served: Served, ids: list[int]) -> None:
        """Returns when the engine is made; raises what `make_engine` raises. `ids`: of PROBE with the model's tokenizer."""
        self._about = wire.about(served, ids)
        self._new: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self._numbers = count()
        self._ended: BaseException | None = None
        made: Future[None] = Future()
        Thread(target=self._work, args=(make_engine, made), name="engine", daemon=True).start()
        made.result()

    async def handle(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """A job's output. An engine that has died is replaced together with this worker (`refresh_worker`)."""
        asked = job.get("input")
        if not isinstance(asked, dict) or asked.get("version") != wire.VERSION:
            return {"error": f"this worker takes jobs of review-digest, version {wire.VERSION}"}
        if asked.get("about"):
            return dict(self._about)
        if not isinstance(asked.get("requests"), list):
            return {"error": "neither `about` nor `requests` is in the input"}
        try:
            answers = await asyncio.gather(*map(self._answer, asked["requests"]))
        except EngineDied as error:
            return {"error": str(error), "refresh_worker": True}
        return {"answers": [wire.answer(answer) for answer in answers]}

    async def _answer(self, said: Any) -> Answer:
        try:
            request, rank = wire.read_request(said)
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            key = str(said.get("key", "")) if isinstance(said, dict) else ""
            return Answer(key, error=f"the worker cannot read this request ({type(error).__name__}: {error})")
        future: Future[Answer] = Future()
        number = next(self._numbers)
        self._new.put((rank, number, replace(request, key=str(number)), future))  # two clients may ask the same
        if self._ended is not None and not future.done():  # after the thread has looked for the last time
            raise EngineDied(str(self._ended))
        return replace(await asyncio.wrap_future(future), key=request.key)

    def _work(self, make_engine: Callable[[], Engine], made: Future[None]) -> None:
        inside: dict[str, Future[Answer]] = {}
        waiting: list[Waiting] = []
        try:
            engine = make_engine()
            made.set_result(None)
            while True:
                self._receive(waiting, wait=not waiting and not engine.unfinished)
                while waiting and engine.unfinished < engine.window:
                    rank, _, request, future = heapq.heappop(waiting)
                    if future.set_running_or_notify_cancel():  # else its job was cancelled meanwhile
                        inside[request.key] = future
                        if (refused := engine.submit(request, rank)) is not None:
                            inside.pop(request.key).set_result(refused)
                for answer in engine.step() if engine.unfinished else ():
                    inside.pop(answer.key).set_result(answer)
        except BaseException as error:  # nobody is above a thread: who waits is told
            self._ended = error
            if not made.done():
                made.set_exception(error)
            self._receive(waiting, wait=False)
            for future in (*inside.values(), *(one[-1] for one in waiting)):
                if not future.done():
                    future.set_exception(EngineDied(str(error)))

    def _receive(self, waiting: list[Waiting], wait: bool) -> None:
        """Moves what is new to those that wait; where `wait`, until there is something."""
        if wait:
            heapq.heappush(waiting, self._new.get())
        while not self._new.empty():
            heapq.heappush(waiting, self._new.get_nowait())
