"""Parts that a run has looked answers up in, decoded once and sorted: in files that the system keeps in memory as long as there is room.

What many guests say is asked in every part of a run, so a lookup goes to many parts of which it wants a row or two.
"""

from __future__ import annotations

import mmap
import resource
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

SMALL_BYTES = 1 << 20
"""Of a part that stays in memory."""
MOST_BYTES = 16 << 30
"""Of all parts together, those that were not used for longest go."""
MOST_MEMORY = 256 << 20
"""Of those that are in no file."""
MOST_PARTS = 512
"""A file stays open as long as its part is held: so many, and no more than half of what the system allows a process."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A part's rows, sorted by the first half of their keys. `file`: what they are in, where that is not memory."""

    high: npt.NDArray[np.uint64]
    low: npt.NDArray[np.uint64]
    table: pa.Table
    file: mmap.mmap | None = None

    @classmethod
    def of(cls, table: pa.Table, file: mmap.mmap | None = None) -> Rows:
        """`table`: in one chunk."""
        return cls(table["high"].chunk(0).to_numpy(), table["low"].chunk(0).to_numpy(), table.drop_columns(["high", "low"]), file)

    def matching(self, halves: npt.NDArray[np.uint64], places: npt.NDArray[np.intp]) -> pa.Table:
        """The rows with the keys at these `places` of `halves` (shape (keys, 2)), each with its `place`. Two keys in a part that are alike
        in their first half (one store in many thousands has such) hide one another, and cost a question."""
        at = np.minimum(np.searchsorted(self.high, halves[places, 0]), len(self.high) - 1)
        hit = (self.high[at] == halves[places, 0]) & (self.low[at] == halves[places, 1])
        found = self.table.take(pa.array(at[hit])).add_column(0, "place", pa.array(places[hit]))
        if self.file is not None:
            self.file.madvise(mmap.MADV_DONTNEED)  # pages around a row count as this process's until somebody else needs the memory
        return found


def joined(tables: Sequence[pa.Table]) -> pl.DataFrame:
    """All rows of these."""
    found = pl.from_arrow(pa.concat_tables(tables))
    assert isinstance(found, pl.DataFrame)
    return found


class PartCache:
    """By the digests of their parts; used from several threads. `folder`: for the files, the system's own for such where it is None."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = MOST_PARTS if allowed == resource.RLIM_INFINITY else min(MOST_PARTS, allowed // 2)
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Rows] = OrderedDict()

    def get(self, digest: str, read: Callable[[], pl.DataFrame]) -> Rows:
        """The rows of a part; `read` is called where they are not held. Raises what it raises."""
        with self._lock:
            if digest in self._held:
                self._held.move_to_end(digest)
                return self._held[digest]
        rows = self._mapped(read().sort("high").to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks())
        with self._lock:
            self._held[digest] = rows
            while len(self._held) > 1 and self._too_much():
                self._held.popitem(last=False)
        return rows

    def _too_much(self) -> bool:
        in_memory = sum(one.table.nbytes for one in self._held.values() if one.file is None)
        everything = sum(one.table.nbytes for one in self._held.values())
        return len(self._held) > self._most or in_memory > MOST_MEMORY or everything > MOST_BYTES

    def holds(self, digest: str) -> bool:
        """Whether `get` would not read it."""
        return digest in self._held

    def drop(self, digests: Iterable[str]) -> None:
        """These will not be asked for again."""
        with self._lock:
            for digest in digests:
                self._held.pop(digest, None)

    def _mapped(self, table: pa.Table) -> Rows:
        """The same in a file, which is gone when nobody holds it any more; in memory where there is no room for one."""
        if table.nbytes < SMALL_BYTES:
            return Rows.of(table)
        try:
            with tempfile.TemporaryFile(dir=self._folder) as file:
                with pa.ipc.new_file(file, table.schema) as writer:
                    writer.write_table(table)
                file.flush()
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError:
            return Rows.of(table)
        return Rows.of(pa.ipc.open_file(pa.py_buffer(mapped)).read_all(), mapped)
