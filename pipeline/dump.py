"""What was read, in parts: all that a dump says of one restaurant is in one of them, and a dump larger than memory is never whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from pipeline.inputs import InputFile
from pipeline.spread import Ranges, Spread

PLACE = ("restaurant_id", "created_at", "review_id")
"""What reviews are sorted by: a restaurant's stand together, in order of time, undated ones last, then by id."""
_COUNTS = {"restaurant_id": pl.String(), "language": pl.String(), "reviews": pl.Int64()}


@dataclass(frozen=True, slots=True)
class Dump:
    """Iterating yields its reviews range after range, in the order of PLACE: the contract's columns, `language` and `arrival` (row number
    over all files).

    `counts`: number of `reviews` by restaurant_id and language. `rejected`: rows of the contract's `reject_schema`, in the same ranges.
    `answered`: of restaurants, restaurant_id and review_id of reviews about which earlier runs have asked; None where nobody knows.
    """

    spread: Spread
    counts: pl.DataFrame
    rejected: Spread
    files: list[InputFile] = field(default_factory=list)
    answered: Callable[[pl.Expr], pl.DataFrame] | None = None
    left_out: pl.DataFrame | None = None
    chosen: pl.DataFrame | None = None

    @classmethod
    def of(cls, parts: Iterator[pl.DataFrame] | Sequence[pl.DataFrame], spread: Spread, rejected: Spread) -> Dump:
        """One whose reviews come in `parts`, each with all reviews of its restaurants, to be kept in `spread`."""
        counts = [pl.DataFrame(schema=_COUNTS)]
        for part in parts:
            counts.append(part.group_by("restaurant_id", "language").agg(reviews=pl.len().cast(pl.Int64)))
            spread.append(part.sort(*PLACE, nulls_last=True))
        return cls(spread, pl.concat(counts).sort("restaurant_id", "language"), rejected)

    def of_these(self, reviews: pl.DataFrame) -> Dump:
        """One with these reviews in memory in place of its own; they may have columns more."""
        rejects = self.rejects
        rejected = Spread("rejects", rejects.schema)
        rejected.append(rejects)
        made = Dump.of([reviews], Spread("dump", reviews.schema), rejected)
        return replace(made, files=self.files, answered=self.answered)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return (self.part(number) for number in range(len(self.ranges)))

    def part(self, number: int) -> pl.DataFrame:
        """The reviews of one range."""
        return self._kept(self.spread.part(number), number)

    def rejects_of(self, number: int) -> pl.DataFrame:
        """The rejects of one range, in the order of files and rows; those without a restaurant are in the first."""
        return self._kept(self.rejected.part(number), number)

    def named_rejects_of(self, number: int) -> pl.DataFrame:
        """Those that belong to a restaurant."""
        return self.rejects_of(number).filter(pl.col("restaurant_id").str.strip_chars() != "")

    def _kept(self, rows: pl.DataFrame, number: int) -> pl.DataFrame:
        of_these = self.ranges.of(number)
        if self.chosen is not None:
            rows = rows.join(self.chosen.filter(of_these), on="restaurant_id", how="semi", maintain_order="left")
        if self.left_out is not None:
            rows = rows.join(self.left_out.filter(of_these), on="restaurant_id", how="anti", maintain_order="left")
        return rows

    @property
    def ranges(self) -> Ranges:
        return self.spread.ranges

    @property
    def reviews(self) -> pl.DataFrame:
        """All of them in memory, by `arrival`: for those who look at small dumps."""
        return pl.concat(list(self)).sort("arrival")

    @property
    def rejects(self) -> pl.DataFrame:
        """All of them in memory, range after range: for those who look at small dumps."""
        return pl.concat(self.rejects_of(number) for number in range(len(self.ranges)))

    @property
    def height(self) -> int:
        """Number of reviews."""
        return int(self.counts["reviews"].sum())

    @property
    def figures(self) -> dict[str, int]:
        """How much was read: files, reviews and their bytes, restaurants with a review, rejects."""
        rejects = self.rejected.scan().select(pl.len()).collect().item()
        counts = {"reviews": self.height, "rejects": int(rejects), "restaurants": len(self.names)}
        return {"files": len(self.files), **counts, "bytes": self.size}

    @property
    def size(self) -> int:
        """Bytes of the reviews that were read."""
        return self.spread.size

    @property
    def names(self) -> pl.Series:
        """Restaurants with a review, sorted."""
        return self.counts["restaurant_id"].unique(maintain_order=True)

    @property
    def languages(self) -> set[str]:
        """Of its reviews."""
        return set(self.counts["language"].unique())

    @property
    def main_languages(self) -> dict[str, str]:
        """The language of most reviews by restaurant; the first by name where two are equal."""
        most = self.counts.sort("restaurant_id", "reviews", "language", descending=[False, True, False])
        return dict(most.unique("restaurant_id", keep="first", maintain_order=True).select("restaurant_id", "language").iter_rows())

    def only(self, restaurants: Collection[str]) -> Dump:
        """What concerns these restaurants."""
        these = _named(restaurants)
        return replace(self, counts=self.counts.join(these, on="restaurant_id", how="semi", maintain_order="left"), chosen=these)

    def without(self, restaurants: Collection[str]) -> Dump:
        """What concerns other restaurants, or none."""
        if not restaurants:
            return self
        these = _named(restaurants)
        return replace(
            self,
            counts=self.counts.join(these, on="restaurant_id", how="anti", maintain_order="left"),
            left_out=these if self.left_out is None else pl.concat([self.left_out, these]).unique(),
        )


def _named(restaurants: Collection[str]) -> pl.DataFrame:
    return pl.DataFrame({"restaurant_id": pl.Series(sorted(restaurants), dtype=pl.String)})
