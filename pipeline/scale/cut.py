"""A dump cut into pieces, each with all rows of its restaurants; read once, whatever the number of pieces."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from pipeline import durable
from pipeline.dump import Dump
from pipeline.errors import TryAgain
from pipeline.scale.piece import Rows

_PIECE = "_piece"


class Cut:
    """Rows by piece: in memory where the dump is, else in files."""

    def __init__(self, dump: Dump, pieces: Sequence[Sequence[str]]) -> None:
        """Raises TryAgain where the disk is full."""
        self._folder: Path | None = dump.ranges.folder if dump.ranges.cuts else None
        names = [name for piece in pieces for name in piece]
        numbers = [number for number, piece in enumerate(pieces) for _ in piece]
        schema = {"restaurant_id": pl.String(), _PIECE: pl.Int64()}
        self._of = pl.DataFrame({"restaurant_id": names, _PIECE: numbers}, schema=schema)
        self._empty: dict[str, pl.DataFrame] = {}
        self._held: dict[tuple[str, int], list[pl.DataFrame | Path]] = {}
        for number in range(len(dump.ranges)):
            self._add("reviews", dump.part(number), number)
            self._add("rejects", dump.named_rejects_of(number), number)

    def take(self, number: int) -> Rows:
        """Reviews and rejects of a piece, in the order of the dump; for good."""
        return self._taken("reviews", number), self._taken("rejects", number)

    def _add(self, kind: str, rows: pl.DataFrame, part: int) -> None:
        self._empty.setdefault(kind, rows.clear())
        placed = rows.join(self._of, on="restaurant_id", how="inner", maintain_order="left")
        for (number,), some in placed.partition_by(_PIECE, as_dict=True, include_key=False, maintain_order=True).items():
            self._held.setdefault((kind, int(number)), []).append(self._aside(kind, some, int(number), part))

    def _aside(self, kind: str, rows: pl.DataFrame, number: int, part: int) -> pl.DataFrame | Path:
        if self._folder is None:
            return rows
        path = self._folder / f"piece-{number:06}-{kind}-{part:06}.arrow"
        try:
            rows.rechunk().write_ipc(path, compression="lz4")
        except OSError as error:
            raise TryAgain(f"{path}: rows could not be set aside ({durable.first_line(error)}); make room and run again") from None
        return path

    def _taken(self, kind: str, number: int) -> pl.DataFrame:
        parts = [self._empty[kind]]
        for one in self._held.pop((kind, number), []):
            parts.append(pl.read_ipc(one) if isinstance(one, Path) else one)
            if isinstance(one, Path):
                one.unlink()
        return pl.concat(parts)
