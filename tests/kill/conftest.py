"""Fixtures: places to run in, prepared once, and a reader that watches all of them."""

import itertools
import json
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import driver
import polars as pl
import pytest
import views
from driver import Script

START_S = 120
"""The server that forks all runs needs that long at most to import what they share."""


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

    def start(self, *options: str, **script) -> multiprocessing.Process:
        """A process that runs `analyze` here."""
        self.asked.append(self.folder / f"{len(self.asked)}.asked")
        self.asked[-1].touch()
        arguments = ["analyze", str(self.dump), "--output", str(self.output), *options]
        process = multiprocessing.get_context("forkserver").Process(
            target=driver.play, args=(Script(arguments, self.asked[-1], self.asked[-1].with_suffix(".said"), **script),)
        )
        process.start()
        return process

    def run(self, *options: str, timeout: float = 60, **script) -> int:
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

    def stored(self) -> set[str]:
        """Which of the questions that were ever asked here the store can answer."""
        identity = json.loads((views.resolve(self.output / "current.json") / "manifest.json").read_text())["identity"]
        stored = views.stored_keys(self.store)
        return {key for number in range(len(self.asked)) for key in self.answered(number) if views.stored_key(key, identity) in stored}


def write_dump(path: Path, sizes: list[int], broken: int) -> Path:
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - as a dump holds it
    rows = [
        {
            "restaurant_id": f"r{i}",
            "review_id": f"{i}-{j}",
            "text": f"Dish {j} at place {i} was fine.",
            "rating": 1.0 + j % 5,
            "created_at": start,
        }
        for i, size in enumerate(sizes)
        for j in range(size)
    ]
    rows += [{"restaurant_id": "r0", "review_id": f"broken-{k}", "text": None, "rating": None, "created_at": None} for k in range(broken)]
    pl.DataFrame(rows).write_parquet(path)
    return path


@pytest.fixture(scope="session", autouse=True)
def server() -> None:
    """The server that forks every process of these tests: importing for each one anew would take longer than the tests."""
    here = Path(__file__).parent
    paths = [str(here), str(here.parent), str(here.parent.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["warm"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join(paths))
        process = context.Process(target=sys.exit)
        process.start()
        process.join(START_S)
    assert process.exitcode == 0


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all places."""
    return tmp_path_factory.mktemp("kill")


@pytest.fixture(scope="session")
def template(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A place with two committed runs of older dumps, so that there is something to see, to carry over and to clean away."""
    place = Place(tmp_path_factory.mktemp("template"), write_dump(base / "oldest.parquet", [3, 2], 1))
    assert place.run() == 0, place.said
    place.dump = write_dump(base / "older.parquet", [4, 2, 5], 2)
    assert place.run() == 0, place.said
    return place


@pytest.fixture(scope="session")
def new_place(base: Path, template: Place) -> Callable[..., Place]:
    """`new_place(dump)` is a copy of the template for another dump; `store` is the one to begin with, none when left out."""
    numbers = itertools.count()

    def make(dump: Path, store: Path | None = None) -> Place:
        scratch = base / f".{next(numbers):04}"
        shutil.copytree(template.output, scratch / "out", symlinks=True)
        if store is not None:
            shutil.copytree(store, scratch / "out.store")
        return Place(scratch.rename(base / scratch.name[1:]), dump)  # the reader sees it whole

    return make


@pytest.fixture(scope="session")
def reader(base: Path, server: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process that reads all outputs in a loop, and the file with what it saw."""
    report = tmp_path_factory.mktemp("reader") / "seen"
    report.touch()
    process = multiprocessing.get_context("forkserver").Process(target=driver.watch, args=(base, report), daemon=True)
    process.start()
    yield report
    assert process.is_alive(), "the reader died"
    process.kill()
    process.join()


@pytest.fixture(autouse=True)
def no_reader_sees_anything_broken(reader: Path) -> Iterator[None]:
    """After every test: what the reader saw while it ran was always one complete run."""
    yield
    broken = [line for line in reader.read_text().splitlines() if line.startswith("broken")]
    assert not broken, broken[:5]
