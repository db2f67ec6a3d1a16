"""One Parquet file, written part after part and held against what was written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import LocalFileSystem

from pipeline import durable
from pipeline.errors import TryAgain

ROW_GROUP = 1 << 17
"""Rows that a reader takes up together at most."""


class TableFile:
    """A context: on leaving it the file is whole, on disk and counted. The first part, which may be empty, says what its columns are."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: pq.ParquetWriter | None = None
        self._height = 0

    def write(self, rows: pl.DataFrame) -> None:
        """Behind those that are there. Raises TryAgain where the disk is full or the folder went away."""
        table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
        with self._writing():
            if self._writer is None:
                local = LocalFileSystem()  # else a path such as `results-12:30/...` is taken for a URI
                self._writer = pq.ParquetWriter(self._path, table.schema, filesystem=local, compression="zstd")
            self._writer.write_table(table, row_group_size=ROW_GROUP)
        self._height += rows.height

    def __enter__(self) -> TableFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """Raises TryAgain also where other rows could be read back than were written."""
        if self._writer is None:
            return
        if error is not None:
            with suppress(OSError, pa.ArrowException):  # the first error tells more
                self._writer.close()
            return
        with self._writing():
            self._writer.close()
            durable.sync(self._path)
            written = pq.read_metadata(self._path).num_rows
        if written != self._height:
            raise TryAgain(f"{self._path}: {written} rows of {self._height} could be read back; check the disk and run again")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, pa.ArrowException) as error:
            raise not_written(self._path, error) from None


def not_written(path: Path, error: Exception) -> TryAgain:
    """What is said where results could not be written."""
    return TryAgain(f"{path}: results could not be written ({durable.first_line(error)}); make room and run again")
