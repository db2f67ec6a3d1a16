"""The committed run whose rows stand where nothing has changed, or where a narrow run leaves them alone.

Its tables may be larger than memory: names and fingerprints of all its rows are held, the rest is read when it is needed, a range of
restaurants at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline.errors import BadConfiguration, TryAgain
from pipeline.manifest import plain
from pipeline.places import Folder, Place, Run
from pipeline.reviews import Selection
from pipeline.tables import Published, parted, scan

T = TypeVar("T", bound=Published)
FETCHED = "run-before"


@dataclass(frozen=True, slots=True)
class Previous(Generic[T]):
    """A committed run. `here`: it is the one that readers of this output see, not one of another day's partition. `marks`: name and
    fingerprint of each row, in order of names. `folder`: where it is; `tables`: where its tables are at hand, elsewhere for a run in an
    object store."""

    kind: type[T]
    folder: Folder
    tables: Path
    manifest: Mapping[str, Any]
    here: bool
    marks: pl.DataFrame

    @property
    def names(self) -> set[str]:
        """Of all its rows."""
        return set(self.marks[self.kind.id])

    def read(self, rows: pl.Expr | None = None) -> T:
        """Its tables, or `rows` of them, without requests. Raises TryAgain where they went away since it was found."""
        with self._still_there():
            return self.kind.read(self.tables, rows)

    def select(self, name: str, wanted: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """What is `wanted` of one table. Raises TryAgain where it went away since it was found."""
        with self._still_there():
            return wanted(scan(self.tables, name)).collect(engine="streaming")

    @contextmanager
    def _still_there(self) -> Iterator[None]:
        try:
            yield
        except (OSError, PolarsError, PanicException) as error:
            raise TryAgain(f"{self.folder}: its tables cannot be read any more ({str(error)[:120]}); run again") from None

    def unchanged(self, fingerprints: Mapping[str, str]) -> set[str]:
        """Names whose row was computed from just what they are now. A row in which something failed has no fingerprint."""
        rows = self.marks.drop_nulls().iter_rows()
        return {name for name, fingerprint in rows if fingerprints.get(name) == parted(fingerprint)[0]}

    @property
    def published(self) -> Previous[T] | None:
        """What of it readers see."""
        return self

    @property
    def stale(self) -> bool:
        """Whether some comparison in it may be older than its peers' rows: a narrow run leaves those of others alone."""
        return self.manifest.get("updated") is not None

    def chosen_by(self, selection: Selection | None) -> bool:
        """Whether readers of this output see the results of this selection (None: whatever it was)."""
        return self.here and (selection is None or self.manifest.get("selection") == plain(asdict(selection)))


def find(
    kind: type[T], output: Place, selection: Selection, update: bool, warn: Callable[[str], None], scratch: Path
) -> Previous[T] | None:
    """The committed run of this output; before the first one of a day's partition (`dt=DAY`) that of the latest other day. `scratch`: where
    the tables of one in an object store are fetched to.

    Raises BadConfiguration where another kind of job has its results there, a narrow run would replace a wider one unasked, or `update`
    cannot read what it is to keep; TryAgain where an object store does not answer.
    """
    here = output.committed()
    if here is None:
        return next((found for day in output.other_days() if (found := _other_day(kind, day, warn, scratch))), None)
    if (job := here[1].get("job", "analyze")) != kind.job:
        raise BadConfiguration(f"{output}: holds results of {job}, which this run would replace; choose another --output")
    if not update and not selection.whole and here[1].get("selection") != plain(asdict(selection)):
        raise BadConfiguration(
            f"{output}: holds results of another selection, which this narrower run would replace; "
            "add --update to keep its other rows, or choose another --output"
        )
    previous = _read_back(kind, output, here, True, warn, scratch)
    if previous is None and update:
        raise BadConfiguration(f"{here[0]}: its tables cannot be read; run without --update or choose another --output")
    return previous


def _other_day(kind: type[T], day: Place, warn: Callable[[str], None], scratch: Path) -> Previous[T] | None:
    try:
        run = day.committed()
    except BadConfiguration:  # that day's own runs will say so
        return None
    return _read_back(kind, day, run, False, warn, scratch) if run and run[1].get("job", "analyze") == kind.job else None


def _read_back(kind: type[T], place: Place, run: Run, here: bool, warn: Callable[[str], None], scratch: Path) -> Previous[T] | None:
    folder, manifest = run
    names = [*(name for name in kind.schemas if name != "requests"), "rejects"]  # requests are their own run's story
    tables = place.fetched(folder, [f"{name}.parquet" for name in (*names, *kind.beside)], scratch / FETCHED)
    try:
        found = {name: scan(tables, name) for name in names}
        if any(found[name].collect_schema() != schema for name, schema in kind.schemas.items() if name in found):
            warn(f"{folder}: its tables have other columns, of another version; no row of it is carried over")
            return None
        for table in found.values():  # each page once, and nothing of it kept: damage is found before the work begins
            table.select(pl.all().null_count()).collect(engine="streaming")
        marks = found[kind.plural].select(kind.id, "fingerprint").collect()
    except (OSError, PolarsError, PanicException) as error:
        warn(f"{folder}: its tables cannot be read ({str(error)[:120]}); no row of it is carried over")
        return None
    return Previous(kind, folder, tables, manifest, here, marks)
