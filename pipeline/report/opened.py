"""A committed run, found again: by its output folder, by its own folder or by its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline.analysis import Committed
from pipeline.durable import first_line
from pipeline.errors import BadConfiguration, BadData, NoInput
from pipeline.places import Run, inside, place_of
from pipeline.printable import printable
from pipeline.results import MANIFEST, committed
from pipeline.tables import Results

KIND = Results.job


def open_run(path: Path | str) -> Committed:
    """`path`: an output, of which the run is taken that readers see; of a local one also a run's own folder, or its manifest.

    Raises NoInput where there is no run, BadConfiguration where it is one of another job or its folder is damaged.
    """
    folder, manifest = _in_folder(path) if isinstance(path, Path) else _in_store(path)
    if not isinstance(manifest, dict) or "run_id" not in manifest:
        raise BadConfiguration(f"{printable(inside(folder, MANIFEST))}: is no run's manifest; analyse again")
    if (job := manifest.get("job", KIND)) != KIND:
        raise BadConfiguration(f"{printable(path)}: holds results of {printable(job)}; a report is made of those of {KIND}")
    return Committed(folder, manifest, manifest.get("seconds", {}))


def _in_folder(path: Path) -> Run:
    folder = path.parent if path.name == MANIFEST else path
    if (folder / MANIFEST).is_file():
        try:
            return folder, json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadConfiguration(f"{printable(folder / MANIFEST)}: cannot be read ({first_line(error)}); analyse again") from None
    if not folder.is_dir():
        raise NoInput(f"{printable(path)}: no such folder; name an output folder of analyze, or one of its runs")
    if found := committed(folder):
        return found
    if days := sorted(folder.glob("dt=*/current.json")):
        raise NoInput(f"{printable(path)}: holds days; name one of them, the last is {printable(days[-1].parent)}")
    raise NoInput(f"{printable(path)}: holds no committed run; name an output folder of analyze, or one of its runs")


def _in_store(uri: str) -> Run:
    found = place_of(uri).committed()
    if found is None:
        raise NoInput(f"{uri}: holds no committed run; name an output of analyze")
    return found


def rows_of(run: Committed, table: str) -> pl.LazyFrame:
    """A table of the run with all columns that this version knows; those of a run by another version that it lacks are null."""
    schema = Results.schemas[table]
    found = run.scan(table)
    there = found.collect_schema()
    return found.select(name if name in there else pl.lit(None, dtype).alias(name) for name, dtype in schema.items())


@contextmanager
def readable(run: Committed) -> Iterator[None]:
    """Raises BadData where a table turns out to be gone, damaged or of other columns."""
    try:
        yield
    except (OSError, PolarsError, PanicException) as error:
        raise BadData(f"{printable(run.folder)}: its tables cannot be read ({printable(first_line(error))}); analyse again") from None
