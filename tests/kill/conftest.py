"""Fixtures: places to run in, prepared once, and a reader that watches all of them."""

import itertools
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import driver
import pytest
from places import Place, write_dump

START_S = 120
"""The server that forks all runs needs that long at most to import what they share."""


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
