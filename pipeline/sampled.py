"""Where a process's time goes, by file of this package: a sampling profiler that slows nothing down."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

EVERY_S = 0.002
ELSEWHERE = "elsewhere"
_PACKAGE = str(Path(__file__).parent)


@contextmanager
def sampled(seconds: Counter[str], apart: str) -> Iterator[None]:
    """Adds processor seconds of all threads while the block runs: those since the sample before, to the innermost file of this package on
    the main thread's stack, with what it calls outside, since a signal waits until such a call is back; those under the file `apart` to
    that one. Call it on the main thread; needs a system with SIGPROF."""
    told = time.process_time()

    def note(_: int, frame: FrameType | None) -> None:
        nonlocal told
        before, told = told, time.process_time()
        name = ELSEWHERE
        while frame is not None:
            if frame.f_code.co_filename.startswith(_PACKAGE):
                file = str(Path(frame.f_code.co_filename).relative_to(_PACKAGE))
                name = file if name == ELSEWHERE or file == apart else name
            frame = frame.f_back
        seconds[name] += told - before  # type: ignore[assignment]  # a Counter counts anything

    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
