"""Every step in which a commit, a merge of the store, or the removal of merged shards changes the file system, so that a process can
be killed before each of them and after the last.

Python announces its own calls to whoever audits it (PEP 578), before they are made; syncing and Polars' writing are wrapped. A file whose
content was not synced may be empty or cut after a crash, so those are steps too: the file is cut before the process dies.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipeline import merging, results, upkeep

CHANGES = {"os.mkdir": 0, "os.rename": 1, "os.symlink": 1, "os.remove": 0, "os.rmdir": 0}
"""Events and which of their arguments is the path that changes."""


class Steps:
    """Counts the steps; sends signal `by` to its own process at number `die_at`, or writes the names of all to `names`."""

    def __init__(self, die_at: int | None, by: int, names: Path | None) -> None:
        self._die_at, self._signal, self._file = die_at, by, names
        self._names: list[str] = []
        self._counting = False
        self._thread = threading.get_ident()

    def watch(self, within: str) -> None:
        """From now on; steps outside `commit`, `merge` or `removal` do not count."""
        write_parquet, write_table, self._fsync = pl.DataFrame.write_parquet, pq.ParquetWriter.write_table, os.fsync

        def counted_write_parquet(frame: pl.DataFrame, file: object, **options: object) -> None:
            self._reach(f"write {file}")
            write_parquet(frame, file, **options)

        def counted_write_table(writer: pq.ParquetWriter, table: object, **options: object) -> None:
            self._reach(f"write {writer.where}")
            write_table(writer, table, **options)

        pl.DataFrame.write_parquet, pq.ParquetWriter.write_table = counted_write_parquet, counted_write_table
        os.fsync = self._counted_fsync
        sys.addaudithook(self._audit)
        if within == "commit":
            results.write, results.publish = self._counted(results.write), self._counted(results.publish, last=True)
        elif within == "removal":
            merging.Merge.remove = self._counted(merging.Merge.remove, last=True)
        else:
            upkeep.compact = self._counted(upkeep.compact, last=True)

    def _counted(self, function: Callable[..., Any], last: bool = False) -> Callable[..., Any]:
        def counted(*arguments: object) -> Any:
            self._counting = True
            result = function(*arguments)
            if last:
                self._reach("after the last step")
                if self._file:
                    self._file.write_text("\n".join(self._names))
            self._counting = False
            return result

        return counted

    def _audit(self, event: str, arguments: tuple) -> None:
        if event in CHANGES:
            self._reach(f"{event} {arguments[CHANGES[event]]}")
        elif event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self._reach(f"create {arguments[0]}")

    def _counted_fsync(self, descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").resolve()
        if path.is_file():
            self._reach(f"sync {path}, nothing of it written", lambda: os.truncate(path, 0))
            self._reach(f"sync {path}, half of it written", lambda: os.truncate(path, path.stat().st_size // 2))
        self._reach(f"sync {path}")
        self._fsync(descriptor)

    def _reach(self, name: str, before_death: Callable[[], None] = lambda: None) -> None:
        if not self._counting or threading.get_ident() != self._thread:
            return
        self._names.append(name)
        if len(self._names) == self._die_at:
            if self._signal == signal.SIGKILL:  # else the process lives on, and its files are what it wrote
                before_death()
            os.kill(os.getpid(), self._signal)
