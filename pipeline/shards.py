"""Shards that have committed and wait to be merged: where they are, whose they are, and that none is replaced while it is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout
from polars.exceptions import PanicException, PolarsError

from pipeline import results
from pipeline.basis import Basis
from pipeline.digest import digest
from pipeline.durable import first_line
from pipeline.errors import BadConfiguration, JobError, TryAgain
from pipeline.shard import Shard
from pipeline.tables import Results, scan

MOST_NAMED = 8
"""Shards in one message."""


@dataclass(frozen=True, slots=True)
class Made:
    """A shard's committed run. `marks`: name and fingerprint of each of its restaurants, in order of names."""

    shard: Shard
    folder: Path
    manifest: Mapping[str, Any]
    marks: pl.DataFrame

    @property
    def basis(self) -> Basis:
        found: Basis = self.manifest["shard"]["basis"]
        return found

    @property
    def of(self) -> str:
        """Digest of its basis: the same in all shards that belong together."""
        return str(self.manifest["shard"]["of"])

    @property
    def names(self) -> set[str]:
        return set(self.marks["restaurant_id"])

    @property
    def finished(self) -> set[str]:
        """Restaurants of which nothing failed and nothing was left."""
        return set(self.marks.drop_nulls()["restaurant_id"])

    @property
    def first_request(self) -> datetime:
        return datetime.fromisoformat(self.manifest["first_request"])


def described(shard: Shard, basis: Basis) -> dict[str, Any]:
    """What a shard's manifest says of it."""
    return {"index": shard.index, "count": shard.count, "of": digest(basis), "basis": basis}


def made(output: Path, shard: Shard) -> Made | None:
    """What this shard has committed, None before its first commit. Raises TryAgain where it cannot be read, BadConfiguration where
    something else is in its place."""
    folder = shard.folder(output)
    again = f"remove {folder} and run {shard} again"
    try:
        run = results.committed(folder)
        if run is None:
            return None
        marks = scan(run[0], "restaurants").select("restaurant_id", "fingerprint").collect()
    except (JobError, OSError, PolarsError, PanicException) as error:
        raise TryAgain(f"{folder}: {shard} cannot be read ({first_line(error)}); {again}") from None
    said = run[1].get("shard")
    if not isinstance(said, Mapping) or not {"index", "count", "of", "basis"} <= said.keys():
        raise BadConfiguration(f"{folder}: holds a run that is no shard; {again}")
    if (said["index"], said["count"]) != (shard.index, shard.count):
        raise BadConfiguration(f"{folder}: holds shard {said['index']} of {said['count']} in place of {shard}; {again}")
    return Made(shard, run[0], run[1], marks)


def siblings(output: Path, shard: Shard, of: str) -> list[Made]:
    """The shards that belong together with this one and have committed, it may be among them; those that cannot be read are not there."""
    found = []
    for index in range(1, shard.count + 1):
        with suppress(JobError):
            one = made(output, Shard(index, shard.count))
            if one and one.of == of:
                found.append(one)
    return found


@contextmanager
def held(output: Path, count: int) -> Iterator[list[Made]]:
    """The shards that are there, none of which runs or is replaced meanwhile. Raises TryAgain where one is at work or cannot be read,
    BadConfiguration where something else is in its place."""
    with ExitStack() as locks:
        for shard in (Shard(index, count) for index in range(1, count + 1)):
            if (folder := shard.folder(output)).is_dir():
                lock = FileLock(folder / results.LOCK, timeout=0)
                try:
                    locks.enter_context(lock)
                except Timeout:
                    raise TryAgain(f"{folder}: {shard} is at work; merge when it has ended") from None
                except OSError as error:
                    raise BadConfiguration(f"{folder}: cannot be held ({first_line(error)}); check its permissions") from None
        yield [one for index in range(1, count + 1) if (one := made(output, Shard(index, count)))]


def check_all_there(output: Path, count: int, there: list[Made]) -> None:
    """Raises TryAgain that names those that are missing."""
    missing = sorted(set(range(1, count + 1)) - {one.shard.index for one in there})
    if missing:
        named = ", ".join(map(str, missing[:MOST_NAMED])) + ", ..." * (len(missing) > MOST_NAMED)
        raise TryAgain(f"{output}: of {count} shards {len(missing)} have not committed ({named}); merge when they have")


def check_whole(output: Path, there: list[Made]) -> None:
    """Reads every page once, so that damage is found before the work begins. Raises TryAgain."""
    for one in there:
        try:
            for name in Results.schemas:
                scan(one.folder, name).select(pl.all().null_count()).collect(engine="streaming")
        except (OSError, PolarsError, PanicException) as error:
            again = f"remove {one.shard.folder(output)} and run {one.shard} again"
            raise TryAgain(f"{one.folder}: its tables cannot be read ({first_line(error)}); {again}") from None
