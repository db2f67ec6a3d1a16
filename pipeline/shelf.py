"""The reviews of a dump, each restaurant's by itself, to be taken up in whatever order restaurants are opened.

One read of some kilobytes a restaurant: a disk that reads 3,000 times a second keeps up with 3,000 restaurants a second, more than any
engine asks about.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import polars as pl

from pipeline.aside import Aside
from pipeline.dump import Dump
from pipeline.records import Review

TOGETHER = 1 << 14
"""Reviews that become Python's at once, a few more where a restaurant has them."""
_COLUMNS = ("review_id", "text", "language", "rating", "created_at")  # in the order of Review's fields


class Shelf:
    """Restaurants count from 0 by name, those without a review left aside."""

    def __init__(self, dump: Dump) -> None:
        """Raises TryAgain where the disk is full."""
        self._aside = Aside("reviews", dump.ranges.folder)
        self._places = array("q", (self._aside.put(columns) for part in dump for columns in _by_restaurant(part)))

    def __getitem__(self, number: int) -> tuple[Review, ...]:
        """The reviews of one restaurant, in order of time, then id."""
        return tuple(map(Review, *self._aside.at(self._places[number])))


def _by_restaurant(part: pl.DataFrame) -> Iterator[list[list[object]]]:
    first = 0
    for sizes in _together(part.get_column("restaurant_id").rle().struct.field("len").to_list()):
        rows, begin = part.slice(first, sum(sizes)), 0
        columns = [rows.get_column(name).to_list() for name in _COLUMNS]
        for size in sizes:
            yield [column[begin : begin + size] for column in columns]
            begin += size
        first += begin


def _together(sizes: Sequence[int]) -> Iterator[list[int]]:
    some: list[int] = []
    reviews = 0
    for size in sizes:
        some.append(size)
        reviews += size
        if reviews >= TOGETHER:
            yield some
            some, reviews = [], 0
    yield some
