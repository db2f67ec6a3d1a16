"""The committed run with shards above it, as one run before this one: a restaurant's rows are those of the shard that has looked at it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.previous import Previous
from pipeline.shards import Made
from pipeline.tables import Results, scan

_NOBODY = pl.DataFrame(schema={"restaurant_id": pl.String(), "fingerprint": pl.String()})


@dataclass(frozen=True)
class Gathered(Previous[Results]):
    """For who asks what is known of restaurants that he does not look at. `committed`: None before the first commit."""

    committed: Previous[Results] | None = None
    shards: tuple[Made, ...] = ()

    @classmethod
    def of(cls, committed: Previous[Results] | None, shards: Sequence[Made], output: Path) -> Gathered:
        """`output`: where all of them are, for errors."""
        taken = pl.concat([_NOBODY, *(one.marks for one in shards)])
        below = [committed.marks.join(taken, on="restaurant_id", how="anti")] if committed else []
        manifest: Mapping[str, Any] = committed.manifest if committed else {}
        marks = pl.concat([*below, taken]).sort("restaurant_id")
        return cls(Results, output, output, manifest, bool(committed and committed.here), marks, committed, tuple(shards))

    def select(self, name: str, wanted: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        taken = pl.concat([_NOBODY, *(one.marks for one in self.shards)]).lazy()
        with self._still_there():
            below = [scan(self.committed.tables, name).join(taken, on="restaurant_id", how="anti")] if self.committed else []
            return wanted(pl.concat([*below, *(scan(one.folder, name) for one in self.shards)])).collect(engine="streaming")

    @property
    def published(self) -> Previous[Results] | None:
        return self.committed

    @property
    def stale(self) -> bool:
        """Comparisons in it may be missing, or older than the shards' rows."""
        return True
