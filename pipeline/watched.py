"""What becomes of the requests inside an engine when a loop does not come to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pipeline.engine import Engine
from pipeline.errors import EngineDied
from pipeline.records import Request
from pipeline.run import Loop

SIGNAL_S = 1.0
"""A signal to the whole process group reaches the engine's process and this one within that time."""


@contextmanager
def watched(loop: Loop, engine: Engine, stop: Callable[[], None], suspect: Callable[[Sequence[Request]], None]) -> Iterator[None]:
    """While the loop runs inside: when the engine dies, `suspect` is told what it held; after any other end it is emptied."""
    try:
        yield
    except EngineDied:
        time.sleep(SIGNAL_S)
        stop()  # an engine that died of a stop signal is no suspect's work
        suspect(loop.inside)
        raise
    except BaseException:
        engine.abort()
        raise
