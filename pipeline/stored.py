"""Answers in a store, for reading: which of these questions have been answered before?

Nothing is written and no lock is taken: parts never change once they are there, and one that another run has merged meanwhile is looked for
again. `plan` reads a store so while a run adds to it; `store.py` adds.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from pipeline import parts, usage
from pipeline.key_index import KeyIndex
from pipeline.packing import WANTED, unpack
from pipeline.part_cache import PartCache, Rows, joined
from pipeline.parts import Part
from pipeline.records import Answer
from pipeline.suspects import Suspects
from pipeline.upkeep import ANSWERS, SUSPECTS

AT_ONCE = 128
"""Answers made at once: few enough that Python's garbage collector does not set out, which took a fifth of a large lookup."""
READERS = 2
"""Parts read at once: digest and Parquet work outside Python's lock."""


def stored_key(identity: bytes, key: str) -> bytes:
    """128 bits under which the answer to a request is kept; `identity`: 128 bits."""
    return hashlib.blake2b(identity + bytes.fromhex(key), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Begun:
    """When a run began that serves no answers of earlier ones. `after`: number of the last part that was there; it alone would not do,
    since another run may merge old answers with new ones into a later part."""

    after: int
    since: datetime


class StoredAnswers:
    """The answers in one folder; none where there is no such folder."""

    _scratch: Path | None = None
    """Folder for files that last as long as this object, the system's own for such where it is None."""

    def __init__(self, folder: Path, identity: str, warn: Callable[[str], None] = lambda _: None, fresh: bool | Begun = False) -> None:
        """`identity`: hexadecimal digest of what answers depend on beside their request. `fresh`: earlier runs' answers are not served;
        `begun` of another one: those from before that are not."""
        self.folder = folder
        self._answers = folder / ANSWERS
        self._identity = bytes.fromhex(identity)
        self._warn = warn
        self._suspects = Suspects(folder / SUSPECTS)
        self._mutex = threading.RLock()
        self._cache = PartCache(self._scratch)
        self._counts = usage.Counts()
        self._sequence = max((part.sequence for part in parts.listed(self._answers)), default=0)
        now = Begun(self._sequence, datetime.now(UTC))
        self.begun = fresh if isinstance(fresh, Begun) else now if fresh else None
        self._index()

    def find(self, keys: Sequence[str]) -> Iterator[Answer]:
        """The stored answers among these, in any order, each under the request's key."""
        with self._mutex, self._measured():
            self._counts.looked_up += len(keys)
            wanted = {stored_key(self._identity, key): key for key in keys} if len(self._keys) else {}
            rows = self._matching(list(wanted)) if wanted else None
            self._counts.served += rows.height if rows is not None else 0
        if rows is None:
            return
        names = list(wanted.values())
        for some in rows.iter_slices(AT_ONCE):
            with self._measured():
                found = unpack(names, some)
            yield from found

    @contextmanager
    def _measured(self) -> Iterator[None]:
        """Adds the processor time that this thread spends inside to that of the store."""
        began = time.thread_time()
        try:
            yield
        finally:
            with self._mutex:
                self._counts.cpu_s += time.thread_time() - began

    def deaths(self, key: str) -> int:
        """How many engines died with this request inside."""
        return self._suspects.deaths(stored_key(self._identity, key).hex()) if self._suspects else 0

    def refresh(self) -> None:
        """Sees what others have added since this was opened or refreshed."""
        with self._mutex:
            known = {part.path for part in self._parts}
            self._take([part for part in self._listed() if part.path not in known])

    def _index(self) -> None:
        """Begins anew with all parts that are there now."""
        self._parts: list[Part] = []
        self._keys = KeyIndex()
        self._take(self._listed())

    def _listed(self) -> list[Part]:
        return [part for part in parts.listed(self._answers) if self.begun is None or part.sequence > self.begun.after]

    def _take(self, listed: Sequence[Part]) -> None:
        """Reads the keys of these parts and checks each against its digest."""
        entries = []
        try:
            with ThreadPoolExecutor(READERS) as readers:
                read = list(readers.map(lambda part: self._read(part, "high"), listed))
        except FileNotFoundError:  # merged since it was listed; what was in it may stand in a part that was not listed
            return self._index()
        for part, rows in zip(listed, read, strict=True):
            if rows is None:
                self._pass_over(part)
                continue
            entries.append((rows["high"].to_numpy(), len(self._parts)))
            self._parts.append(part)
        self._keys.add(*entries)
        return None

    def _read(self, part: Part, *columns: str) -> pl.DataFrame | None:
        """These columns of the rows that are served; None of a damaged part."""
        if self.begun is None:
            return part.rows(*columns)
        rows = part.rows(*columns, "added_at")
        return None if rows is None else rows.filter(pl.col("added_at") >= self.begun.since).select(columns)

    def _pass_over(self, part: Part) -> None:
        """What happens to a damaged part."""
        self._warn(f"{part.path}: is damaged; its answers count as not there")

    def _matching(self, own: Sequence[bytes]) -> pl.DataFrame | None:
        """Rows with these keys and each one's `place` among them."""
        halves = np.frombuffer(b"".join(own), dtype="<u8").reshape(-1, 2)
        while True:
            numbers = self._keys.find(halves[:, 0])
            hit = np.unique(numbers[numbers >= 0]).tolist()
            try:
                found = [
                    rows.matching(halves, np.flatnonzero(numbers == number)) for number, rows in zip(hit, self._rows(hit), strict=True)
                ]
                return joined(found) if found else None
            except FileNotFoundError:  # another run has merged or pruned parts meanwhile
                self._index()

    def _rows(self, numbers: Sequence[int]) -> list[Rows]:
        """Those that are not held are read together."""
        wanted = [self._parts[number] for number in numbers]
        if all(self._cache.holds(part.digest) for part in wanted):
            return list(map(self._rows_of, wanted))
        with ThreadPoolExecutor(READERS) as readers:
            return list(readers.map(self._rows_of, wanted))

    def _rows_of(self, part: Part) -> Rows:
        def read() -> pl.DataFrame:
            rows = self._read(part, *WANTED)
            if rows is None:
                raise FileNotFoundError  # damaged since it was opened: listing again sets it aside
            return rows

        return self._cache.get(part.digest, read)
