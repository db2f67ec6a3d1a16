"""Rows spread over ranges of restaurants: what does not fit in memory together is taken up again one range after another.

Everything that concerns one restaurant is in one range, whatever table it is from, so ranges are read, merged and written one by one (the
partitions of a hash join: Kitsuregawa et al. 1983, "Application of Hash to Data Base Machine and Its Architecture", New Generation
Computing 1; here by name and not by hash, so that tables written range by range are sorted). Where there is one range, nothing leaves
memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import durable
from pipeline.errors import TryAgain
from pipeline.schemas import frame_of

ROWS_TOGETHER = 1 << 14
"""Rows that become columns at once, a tenth of what they take as dictionaries."""
HELD_BYTES = 32 << 20
"""Of a table, in memory, before they go to files."""
RANGE_BYTES = 64 << 20
"""Of reviews in one range, where there are more."""


@dataclass(frozen=True, slots=True)
class Ranges:
    """Names up to the first of `cuts`, from there up to the second, and so on; a row without a name is in the first range. `folder`: where
    files go, those of whatever else is set aside with these ranges among them; not needed without cuts."""

    cuts: tuple[str, ...] = ()
    folder: Path | None = None

    def __post_init__(self) -> None:
        if self.cuts and self.folder is None:
            raise ValueError("more than one range needs a folder for its rows")

    def __len__(self) -> int:
        return len(self.cuts) + 1

    def of(self, number: int, name: str = "restaurant_id") -> pl.Expr:
        """Whether a row is in this range; `name`: the column with the names. Plain comparisons, by which a reader of a sorted Parquet file
        passes over what lies outside."""
        column = pl.col(name)
        if not self.cuts:
            return pl.lit(True)
        if not number:
            return (column < self.cuts[0]) | column.is_null()
        above = column >= self.cuts[number - 1]
        return above & (column < self.cuts[number]) if number < len(self.cuts) else above

    def parted(self, rows: pl.DataFrame) -> Iterator[tuple[int, pl.DataFrame]]:
        """The rows of each range that has any, in the order given."""
        if not self.cuts:
            yield 0, rows
            return
        numbers = pl.Series("cuts", self.cuts, dtype=pl.String).search_sorted(rows["restaurant_id"].fill_null(""), side="right")
        named = rows.with_columns(numbers.alias("_range"))
        for (number,), some in named.partition_by("_range", as_dict=True, include_key=False, maintain_order=True).items():
            yield int(number), some


WHOLE = Ranges()


def ranges_for(names: Iterable[pl.Series], size: int, folder: Path | None, most: int | None = None) -> Ranges:
    """Ranges of about as many rows each, so many that none has more than `most` bytes (RANGE_BYTES), restaurants of that size left aside.
    `names`: of the restaurant of each row, a piece at a time, looked at where there is more than one range; `size`: bytes of all rows."""
    number = -(-size // (most or RANGE_BYTES))
    if number <= 1:
        return Ranges(folder=folder)
    counts = _counted(names)
    rows = int(counts["rows"].sum())
    named = counts.drop_nulls("name").sort("name")
    place = (named["rows"].cum_sum() - named["rows"]) * number // rows
    cuts = named.filter(place != place.shift(1, fill_value=0))["name"]
    return Ranges(tuple(cuts), folder)


def _counted(names: Iterable[pl.Series]) -> pl.DataFrame:
    """Rows by `name`. What pieces say is added up when it is more than the sum so far: in memory are names, hardly one thrice."""
    schema = {"name": pl.String(), "rows": pl.Int64()}
    total, pieces, waiting = pl.DataFrame(schema=schema), [], 0
    for piece in names:
        counts = piece.alias("name").value_counts(name="rows").cast(pl.Schema(schema))
        pieces.append(counts)
        waiting += counts.height
        if waiting > total.height:
            total, pieces, waiting = _added([total, *pieces]), [], 0
    return _added([total, *pieces])


def _added(counts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(counts).group_by("name").agg(pl.col("rows").sum())


class Spread:
    """One table of a run. `add` rows as they come, then take the parts."""

    def __init__(self, name: str, schema: Mapping[str, pl.DataType], ranges: Ranges = WHOLE) -> None:
        self._name, self._schema, self.ranges = name, schema, ranges
        self.size = 0
        """Bytes of all rows."""
        self._rows: list[Mapping[str, Any]] = []
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        self._files: list[list[Path]] = [[] for _ in range(len(ranges))]

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """A column that a row does not name is null. Raises TryAgain where the disk is full."""
        self._rows += rows
        if len(self._rows) >= ROWS_TOGETHER:
            self._turn()

    def append(self, frame: pl.DataFrame) -> None:
        """Rows that are columns already. Raises TryAgain where the disk is full."""
        self._frames.append(frame)
        size = int(frame.estimated_size())
        self._held += size
        self.size += size
        if self.ranges.cuts and self._held >= HELD_BYTES:
            self._write()

    def part(self, number: int) -> pl.DataFrame:
        """All rows of one range, in the order in which they came."""
        self._turn()
        if not self.ranges.cuts:
            return self._whole(self._frames)
        self._write()
        return self._whole([pl.scan_ipc(path, glob=False).collect() for path in self._files[number]])

    def take(self, number: int) -> pl.DataFrame:
        """`part`, which is then gone."""
        rows = self.part(number)
        if not self.ranges.cuts:
            self._frames = []
        for path in self._files[number]:
            path.unlink()
        self._files[number] = []
        return rows

    def parts(self) -> Iterator[pl.DataFrame]:
        """Range after range."""
        return (self.part(number) for number in range(len(self.ranges)))

    def scan(self) -> pl.LazyFrame:
        """All rows, for figures over them; in memory only as far as those need."""
        self._turn()
        if not self.ranges.cuts:
            return self._whole(self._frames).lazy()
        self._write()
        files = [path for mine in self._files for path in mine]
        return pl.scan_ipc(files, glob=False) if files else pl.LazyFrame(schema=self._schema)

    def _whole(self, frames: list[pl.DataFrame]) -> pl.DataFrame:
        return pl.concat([pl.DataFrame(schema=self._schema), *frames], rechunk=False)

    def _turn(self) -> None:
        if self._rows:
            rows, self._rows = self._rows, []
            self.append(frame_of(rows, self._schema))

    def _write(self) -> None:
        if not self._frames or self.ranges.folder is None:
            return
        frames, self._frames, self._held = self._frames, [], 0
        try:
            for number, rows in self.ranges.parted(self._whole(frames)):
                path = self.ranges.folder / f"{self._name}-{number:06}-{len(self._files[number]):06}.arrow"
                rows.rechunk().write_ipc(path, compression="lz4")
                self._files[number].append(path)
        except OSError as error:
            reason = durable.first_line(error)
            raise TryAgain(f"{self.ranges.folder}: rows could not be set aside ({reason}); make room and run again") from None


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """Where a run may set rows aside; gone with the run, or with the next one where a run died."""
    scratch = folder / ".rows-of-this-run"
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
