"""What a driver of N workers does itself, each step timed: where more workers stop being of use. For `benchmark driver`."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import polars as pl

from pipeline import parts, results
from pipeline.analysis import Committed
from pipeline.changes import compared, marks_of
from pipeline.dealing import pieces
from pipeline.dump import Dump
from pipeline.job import Job
from pipeline.reviews import read
from pipeline.runtime import Machine, Runtime
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS
from pipeline.shares import costs
from pipeline.spread import Spread
from pipeline.tables import Results, scan
from pipeline.tasks.calibration import Fit
from pipeline.upkeep import MANY_PARTS

ANSWERS_A_PART = 500
"""What a worker on a GPU answers in a second, about."""
Found = TypeVar("Found")
_TABLES: Mapping[str, Mapping[str, pl.DataType]] = {"restaurants": RESTAURANTS, "reviews": REVIEWS, "requests": REQUESTS}


def driven(job: Job, machine: Machine, done: Committed, workers: int) -> dict[str, float]:
    """Processor seconds by step of what a driver does for a run that is `done`: `read` the dump; `find` what has changed and whom to
    compare, weigh and deal it; `send` each piece's rows; `take` its results' rows back; `write` them, sorted, as the run's files."""
    seconds: dict[str, float] = {}
    runtime = Runtime(machine)
    with TemporaryDirectory() as folder:
        aside = Path(folder) / "rows"
        aside.mkdir()
        dump = _timed(seconds, "read", lambda: read(job.inputs, job.columns, job.selection, job.max_input_bytes, aside))
        fits = {name: Fit(**one) for name, one in done.manifest["calibration"].items()}
        _found(dump.only(set(dump.names[:1])), job, runtime, fits, workers)  # what is loaded once, whatever the dump's size
        dealt = _timed(seconds, "find", lambda: _found(dump, job, runtime, fits, workers))
        place = {name: number for number, names in enumerate(dealt) for name in names}
        _timed(seconds, "send", lambda: _sent(dump, place))
        answers = {name: _results(Path(done.folder), name, place) for name in _TABLES}  # the workers' part
        taken = _timed(seconds, "take", lambda: _taken(dump, answers))
        _timed(seconds, "write", lambda: _written(dump, taken, Path(folder)))
    return seconds


def merged_parts(folder: Path) -> dict[str, float]:
    """Processor seconds of writing a small part of a store, and of merging one with its neighbours."""
    random = np.random.default_rng(0)
    rows = [_answers(random) for _ in range(MANY_PARTS)]
    began = time.process_time()
    some = [parts.write(folder, one, number) for number, one in enumerate(rows, start=1)]
    wrote = time.process_time()
    parts.merge(folder, some)
    return {"part": (wrote - began) / MANY_PARTS, "merge": (time.process_time() - wrote) / MANY_PARTS}


def _found(dump: Dump, job: Job, runtime: Runtime, fits: Mapping[str, Fit], workers: int) -> list[list[str]]:
    marks = marks_of(dump, job, runtime, fits)
    compared(dump, marks, set(), None, job)
    return pieces(costs(dump, marks.keys(), job, runtime, fits), workers)


def _by_piece(rows: pl.DataFrame, place: Mapping[str, int]) -> Mapping[tuple[Any, ...], pl.DataFrame]:
    numbers = pl.DataFrame({"restaurant_id": list(place), "piece": list(place.values())})
    return rows.join(numbers, on="restaurant_id").partition_by("piece", as_dict=True, include_key=False)


def _sent(dump: Dump, place: Mapping[str, int]) -> None:
    """In one pass over the dump's ranges; as bytes, as they go to another process."""
    for part in dump:
        for rows in _by_piece(part, place).values():
            rows.write_ipc(io.BytesIO())


def _results(run: Path, name: str, place: Mapping[str, int]) -> list[bytes]:
    """A table of the run, the rows of each piece as bytes."""
    found = []
    for _, rows in sorted(_by_piece(scan(run, name).collect(), place).items()):
        sent = io.BytesIO()
        rows.write_ipc(sent)
        found.append(sent.getvalue())
    return found


def _taken(dump: Dump, answers: Mapping[str, Sequence[bytes]]) -> Mapping[str, Spread]:
    spreads = {name: Spread(name, _TABLES[name], dump.ranges) for name in answers}
    for name, sent in answers.items():
        for one in sent:
            spreads[name].append(pl.read_ipc(io.BytesIO(one)))
    return spreads


def _written(dump: Dump, taken: Mapping[str, Spread], folder: Path) -> None:
    def tables() -> Iterator[Results]:
        for number in range(len(dump.ranges)):
            restaurants, reviews, requests = (taken[name].part(number) for name in _TABLES)
            rejects = dump.rejects_of(number)
            yield Results(restaurants.sort("restaurant_id"), reviews.sort("restaurant_id", "review_id"), rejects, requests)

    (folder / results.RUNS).mkdir()
    results.write(folder, "run", tables(), dict)


def _answers(random: np.random.Generator) -> pl.DataFrame:
    keys = random.integers(0, 1 << 63, (ANSWERS_A_PART, 2), dtype=np.uint64)
    logprobs = [row.tobytes() for row in random.standard_normal((ANSWERS_A_PART, 8))]
    values = {
        "high": keys[:, 0],
        "low": keys[:, 1],
        "task": "sentiment",
        "stage": "label",
        "restaurant_id": "r00000001",
        "text": "",
        "choices": np.arange(300, 308, dtype="<u4").tobytes(),
        "logprobs": logprobs,
        "finish_reason": "stop",
    }
    numbers = dict.fromkeys(("prompt_tokens", "cached_tokens", "output_tokens", "queue_s", "prefill_s", "decode_s", "added_at"), 1)
    return pl.DataFrame({**values, **numbers}).select(pl.col(name).cast(dtype) for name, dtype in parts.SCHEMA.items())


def _timed(seconds: dict[str, float], step: str, work: Callable[[], Found]) -> Found:
    began = time.process_time()
    found = work()
    seconds[step] = time.process_time() - began
    return found
