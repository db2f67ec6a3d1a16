"""One of several runs that share the work of one: each does its share of the restaurants, wherever and whenever it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHARDS = "shards"
"""Folder beside the runs of an output, in which shards wait to be merged."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The one called `index`, from 1, of `count`."""

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"there is no shard {self.index} of {self.count}")

    def __str__(self) -> str:
        return f"shard {self.index} of {self.count}"

    def folder(self, output: Path) -> Path:
        """Where it commits, laid out as an output is."""
        return together(output, self.count) / str(self.index)


def together(output: Path, count: int) -> Path:
    """Folder of all shards of `count`."""
    return output / SHARDS / str(count)
