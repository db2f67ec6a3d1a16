"""Signals that end a run. The first is honoured at the next Python instruction, a second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from pipeline.errors import Stopped
from pipeline.job import Stop


class StopSignals(Stop):
    """Call it between steps: raises Stopped once SIGINT or SIGTERM has come, even where the first raise was swallowed on its way."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._held = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._receive)

    def __call__(self) -> None:
        if self._received is not None:
            raise Stopped(self._received)

    @contextmanager
    def held(self) -> Iterator[None]:
        """What is inside is finished first; it lasts milliseconds."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _receive(self, number: int, _: FrameType | None) -> None:
        if self._received is not None:
            os._exit(128 + number)
        self._received = number
        if not self._held:
            raise Stopped(number)
