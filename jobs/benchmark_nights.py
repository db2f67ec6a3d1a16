"""What a run takes, and what the nights after it take on the same output: most of a run's history is that hardly anything is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from jobs.instant_machine import instant_machine
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.analysis import Committed, analyze
from pipeline.job import Job
from pipeline.order import Order
from pipeline.peak_memory import peak_bytes, reset_peak

LATER = datetime(2026, 1, 1)  # noqa: DTZ001 - dumps are read without zones
"""When a new review was written, after all others."""


class Took(NamedTuple):
    """`peak_mib`: resident memory at its most, None where it cannot be told apart from what the process did before."""

    done: Committed
    wall_s: float
    processor_s: float
    peak_mib: int | None


def timed(work: Callable[[], Committed]) -> Took:
    """What a run took of this process."""
    counted = reset_peak()
    began, on_processor = time.monotonic(), time.process_time()
    done = work()
    return Took(done, time.monotonic() - began, time.process_time() - on_processor, peak_bytes() >> 20 if counted else None)


def nights_after(restaurants: int, dump: Path, job: Job, order: Order) -> dict[str, Any]:
    """The same reviews once more, then with a new one of every hundredth of the made-up restaurants; each in a process of its own."""
    nothing = _night(job, order)
    new = [f"r{number:08}" for number in range(0, restaurants, 100)]
    said = {"review_id": "new", "text": "We came back, and the soup was better than ever.", "rating": 5.0, "created_at": LATER}
    more = pl.DataFrame({"restaurant_id": new}).with_columns(pl.lit(value).alias(name) for name, value in said.items())
    more.write_parquet(dump / "new.parquet")
    some = _night(job, order)
    took = {
        name: {"wall_s": round(wall_s, 2), "peak_mib": peak} for name, (wall_s, peak) in (("nothing_new", nothing), ("one_in_100", some))
    }
    return {"next_nights": {**took, "changed_restaurants": len(new)}}


def _night(job: Job, order: Order) -> tuple[float, int]:
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_alone, job, order).result()


def _alone(job: Job, order: Order) -> tuple[float, int]:
    """Seconds, and the most memory that this process had, in MiB."""
    stop, progress = StopSignals(), TerminalProgress()
    try:
        took = timed(lambda: analyze(job, order, instant_machine(progress.stage), progress, stop))
    finally:
        progress.close()
    return took.wall_s, peak_bytes() >> 20
