"""One event loop in a thread of its own, so that a job without async can have hundreds of calls under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")
CLOSE_S = 5.0


class LoopThread:
    """A daemon: a process that ends does not wait for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="remote-engine", daemon=True)
        self._thread.start()

    def call(self, what: Callable[..., object], *arguments: Any) -> None:
        """Has this called in the loop, soon."""
        self._loop.call_soon_threadsafe(what, *arguments)

    def wait(self, work: Coroutine[Any, Any, T], most_s: float | None = None) -> T:
        """The result of `work`, done in the loop; a signal interrupts the wait, and then the work. Raises what it raises, TimeoutError."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(most_s)
        finally:
            future.cancel()  # of work that is done, nothing

    def close(self) -> None:
        """Ends the loop; what is under way in it is lost. A second time does nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CLOSE_S)
            if not self._loop.is_running():
                self._loop.close()
