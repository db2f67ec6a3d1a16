"""Where the processes of these tests run, and how to start, await and examine them."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import driver
import polars as pl
import views

from pipeline.stored import stored_key

POLL = threading.Lock()


class Child(multiprocessing.get_context("forkserver").Process):
    """A process that threads may start and await beside one another.

    Whenever multiprocessing starts a process it polls all others. An exit code can be read once: of two threads that poll the same process
    at the same moment, one finds 255. So one polls at a time, and nobody waits within a poll.
    """

    def start(self) -> None:
        with POLL:
            super().start()

    def join(self, timeout: float | None = None) -> None:
        wait([self.sentinel], timeout)
        with POLL:
            super().join(0)

    @property
    def exitcode(self) -> int | None:
        with POLL:
            return super().exitcode


@dataclass
class Place:
    """One output with its store, and the processes that ran there."""

    folder: Path
    dump: Path
    asked: list[Path] = field(default_factory=list)

    @property
    def output(self) -> Path:
        return self.folder / "out"

    @property
    def store(self) -> Path:
        return self.folder / "out.store"

    @property
    def said(self) -> str:
        """What the last process wrote to stdout and stderr."""
        return self.asked[-1].with_suffix(".said").read_text()

    def start(self, *options: str, command: str = "analyze", **script: Any) -> Child:
        """A process that runs a command, `analyze` unless it is another one, here."""
        self.asked.append(self.folder / f"{len(self.asked)}.asked")
        self.asked[-1].touch()
        arguments = [command, str(self.dump), "--output", str(self.output), "--no-report", *options]
        process = Child(
            target=driver.play,
            args=(driver.Script(arguments, self.asked[-1], self.asked[-1].with_suffix(".said"), **script),),
            daemon=True,  # ends with the tests, whatever they find
        )
        process.start()
        return process

    def run(self, *options: str, timeout: float = 60, **script: Any) -> int:
        """Runs it to its end; the exit code."""
        process = self.start(*options, **script)
        process.join(timeout)
        assert process.exitcode is not None, f"still running after {timeout} s"
        return process.exitcode

    def answered(self, number: int = -1) -> dict[str, float]:
        """Keys that the engine of one of the processes answered, and when."""
        lines = [line.split() for line in self.asked[number].read_text().splitlines()]
        assert len({key for key, _ in lines}) == len(lines), "one run asked the same question twice"
        return {key: float(moment) for key, moment in lines}

    def wait_for_answers(self, number: int, timeout: float = 60) -> None:
        """Returns when the last process's engine has given that many."""
        end = time.monotonic() + timeout
        while len(self.asked[-1].read_bytes().splitlines()) < number:
            assert time.monotonic() < end, self.said
            time.sleep(0.01)

    def stored(self, store: Path | None = None) -> set[str]:
        """Which of the questions that were ever asked here the store can answer."""
        identity = json.loads((views.resolve(self.output / "current.json") / "manifest.json").read_text())["identity"]
        stored = views.stored_keys(store or self.store)
        return {
            key for number in range(len(self.asked)) for key in self.answered(number) if stored_key(bytes.fromhex(identity), key) in stored
        }


def write_dump(path: Path, sizes: Sequence[int], broken: int) -> Path:
    """Restaurants r0, r1, ... with so many reviews each, and `broken` rows without a text."""
    rows = [(f"r{i}", f"{i}-{j}", f"Dish {j} at place {i} was fine.", 1.0 + j % 5) for i, size in enumerate(sizes) for j in range(size)]
    rows += [("r0", f"broken-{k}", None, None) for k in range(broken)]
    frame = pl.DataFrame(rows, schema=["restaurant_id", "review_id", "text", "rating"], orient="row")
    frame.with_columns(created_at=pl.datetime(2026, 1, 1)).write_parquet(path)
    return path
