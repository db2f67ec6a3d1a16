"""The Engine protocol over a transport: requests are handed over together, answers come as they come.

The job's loop has no async and needs none: `submit` puts aside, `step` hands over and waits until at least one answer is there, and no
longer than WAIT_S, so that a stop signal, a deadline or a person is heard in between.
"""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Protocol

from pipeline.records import Answer, Request
from pipeline.remote.calls import Calls
from pipeline.remote.loop_thread import LoopThread
from pipeline.remote.served import Served
from pipeline.tokens import Tokens

WAIT_S = 1.0
CANCEL_S = 5.0
"""For what is under way to be cancelled; then the run ends without."""
TELL_S = 60.0

Ranked = tuple[Request, int]
"""A request and its rank, lower first."""
Deliver = Callable[[Sequence[Answer]], None]
"""Takes answers that have come together, so that what follows them goes together, too."""


class Transport(Protocol):
    """How requests get there and answers back. `served` comes first, then `check`, then any number of `ask`, each of them cancelled when
    its answers are not wanted any more."""

    async def served(self, wanted: str | None) -> Served:
        """What is served there under the name that is `wanted`, or as the only one."""
        ...

    async def check(self, tokens: Tokens) -> str | None:
        """Makes sure that answers will be what they are here; what a person should know, if anything."""
        ...

    def parcels(self, requests: Sequence[Ranked]) -> Iterator[Sequence[Ranked]]:
        """Requests that go together, in order."""
        ...

    async def ask(self, parcel: Sequence[Ranked], deliver: Deliver) -> None:
        """Delivers one answer for each, a failed one where there is none. Raises a JobError where the run cannot go on."""
        ...


class RemoteEngine:
    """`window`: requests asked for and not answered at once."""

    def __init__(
        self, transport: Transport, calls: Calls, thread: LoopThread, max_model_len: int, window: int, tell: Callable[[str], None]
    ) -> None:
        """`tell` is told of trouble on the way, now and then, by `step`."""
        self.max_model_len, self.window = max_model_len, window
        self._transport, self._calls, self._thread, self._tell = transport, calls, thread, tell
        self._inside: set[str] = set()
        self._new: list[Ranked] = []
        self._arrived: queue.SimpleQueue[Sequence[Answer] | BaseException] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._tasks: set[asyncio.Task[None]] = set()  # touched in the loop's thread alone
        self._told, self._told_at = calls.tried_again, float("-inf")

    @property
    def unfinished(self) -> int:
        return len(self._inside)

    def submit(self, request: Request, rank: int) -> Answer | None:
        self._inside.add(request.key)
        self._new.append((request, rank))
        return None

    def step(self) -> Sequence[Answer]:
        new, self._new = self._new, []
        for parcel in self._transport.parcels(new):
            self._thread.call(self._begin, parcel)
        self._tell_of_trouble()
        answers = {answer.key: answer for answer in self._take() if answer.key in self._inside}  # others were given up
        self._inside -= answers.keys()
        if self._failure is not None and not answers:  # what has come before it is paid for
            failure = self._failure
            self.abort()
            raise failure
        return list(answers.values())

    def abort(self) -> None:
        self._inside, self._new, self._failure = set(), [], None
        with suppress(Exception):  # the run is over; an endpoint that cannot be reached cannot be told either
            self._thread.wait(self._cancel(), CANCEL_S + WAIT_S)
        while not self._arrived.empty():
            self._arrived.get_nowait()

    def _take(self) -> Iterator[Answer]:
        """What has arrived, after a wait for the first of it. The first failure is kept."""
        wait: float | None = 0.0 if self._failure else WAIT_S
        while True:
            try:
                one = self._arrived.get(timeout=wait) if wait else self._arrived.get_nowait()
            except queue.Empty:
                return
            wait = None
            if isinstance(one, BaseException):
                self._failure = self._failure or one
            else:
                yield from one

    def _begin(self, parcel: Sequence[Ranked]) -> None:
        task = asyncio.get_running_loop().create_task(self._ask(parcel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, parcel: Sequence[Ranked]) -> None:
        try:
            await self._transport.ask(parcel, self._arrived.put)
        except Exception as error:  # raised by `step`, where somebody hears it
            self._arrived.put(error)

    async def _cancel(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CANCEL_S)

    def _tell_of_trouble(self) -> None:
        if self._calls.tried_again > self._told and time.monotonic() - self._told_at > TELL_S:
            self._told, self._told_at = self._calls.tried_again, time.monotonic()
            self._tell(f"the engine's endpoint makes trouble ({self._calls.trouble}); calls are tried again, {self._told:,} so far")
