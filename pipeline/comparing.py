"""Who is compared with whom in a run, and what is known of the restaurants that it carries over.

A row that is carried over keeps its first stage; its comparison is made anew where the figures of its peers, or the peers, have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import polars as pl

from pipeline.dump import Dump
from pipeline.peers import choose_peers
from pipeline.previous import Previous
from pipeline.records import Praise, Strength
from pipeline.spread import Ranges
from pipeline.tables import Results, parted
from pipeline.tasks.comparison import Stand
from pipeline.tasks.figures import comparable, figures_of, mark_of

_OF_A_STAND = ("restaurant_id", "strengths", "fingerprint")
_NO_COMPARISON = r"(^|; )comparison: "


@dataclass(frozen=True, slots=True)
class Comparing:
    """`peers` and `languages` by restaurant. `tables`: of restaurants that the run does not look at. `due`: those of them whose comparison
    may have to change. `later`: restaurants that this run looks at and whose comparison is left to another one."""

    peers: Mapping[str, tuple[str, ...]]
    languages: Mapping[str, str]
    tables: Mapping[str, Praise | None] = field(default_factory=dict)
    due: Mapping[str, Stand] = field(default_factory=dict)
    later: Collection[str] = ()

    def only(self, these: Collection[str], unknown: Collection[str]) -> Comparing:
        """Comparisons of `these` restaurants alone, and of them those that need no table of an `unknown` one; the others are left."""
        absent = set(unknown)
        waiting = {name for name in these if not absent.isdisjoint(self.peers.get(name, ()))}
        due = {name: stand for name, stand in self.due.items() if name in these and name not in waiting}
        return replace(self, due=due, later=waiting)


def comparing(
    dump: Dump, selected: Collection[str], unchanged: Collection[str], before: Previous[Results] | None, two_stage: bool, narrow: bool
) -> Comparing:
    """`selected`: restaurants of the dump, rejects included. `unchanged`: those whose rows are carried over. `narrow`: the dump holds only
    some of the restaurants that `before` has; then those that have peers keep them, and its other restaurants count too.
    """
    languages = dump.main_languages
    if before is None:
        return Comparing(choose_peers(dump) if two_stage else {}, languages)
    if not before.stale and set(selected) == set(unchanged) == before.names:
        return Comparing({}, languages)
    peers = choose_peers(dump) if two_stage else {}
    if narrow and two_stage and before.published:
        kept = before.published.select("restaurants", lambda rows: rows.select("restaurant_id", "peers").drop_nulls()).iter_rows()
        peers |= {name: tuple(chosen) for name, chosen in kept if name in peers and chosen}
    running = set(selected) - set(unchanged)
    tables = {name: table for name, table in _praise(before).items() if name not in running and (narrow or name in unchanged)}
    due = {}
    for number in range(len(dump.ranges)):
        for row in _first_stages(before, dump.ranges.of(number)).iter_rows(named=True):
            name = row["restaurant_id"]
            if name in unchanged and (table := tables.get(name)) is not None:
                stand = _stand(row, languages[name], table)
                if _may_change(stand, peers.get(name, ()), tables, running):
                    due[name] = stand
    return Comparing(peers, languages, tables, due)


class Rows(Protocol):
    """Tables of restaurants, committed or not."""

    @property
    def names(self) -> set[str]:
        """Of the restaurants."""
        ...

    def select(self, name: str, wanted: Callable[[pl.LazyFrame], pl.LazyFrame]) -> pl.DataFrame:
        """What is `wanted` of one table."""
        ...


def stands(rows: Rows, languages: Mapping[str, str], ranges: Ranges) -> tuple[dict[str, Praise | None], dict[str, Stand]]:
    """Tables of praise of all these restaurants, and what each that has strengths and no comparison yet brings to one."""
    tables, found = _praise(rows), {}
    for number in range(len(ranges)):
        for row in _first_stages(rows, ranges.of(number)).iter_rows(named=True):
            if (table := tables.get(row["restaurant_id"])) is not None:
                found[row["restaurant_id"]] = _stand(row, languages[row["restaurant_id"]], table)
    return tables, found


def _praise(before: Rows) -> dict[str, Praise | None]:
    """Tables of praise by restaurant, None where no review was asked about."""
    asked = pl.col("praises").is_not_null()
    counts = dict(before.select("reviews", lambda rows: rows.filter(asked).group_by("restaurant_id").len()).iter_rows())
    praised = before.select(
        "reviews",
        lambda rows: rows.select("restaurant_id", "praises").explode("praises").drop_nulls().group_by("restaurant_id", "praises").len(),
    )
    by_aspect: dict[str, dict[str, int]] = {}
    for name, aspect, number in praised.iter_rows():
        by_aspect.setdefault(name, {})[aspect] = number
    return {name: Praise(counts[name], by_aspect.get(name, {})) if name in counts else None for name in before.names}


def _first_stages(before: Rows, of_these: pl.Expr) -> pl.DataFrame:
    """Of rows that may get a comparison. One in which something failed is looked at again as a whole, by another run; here it gets one
    where it has none and none has failed."""
    without = pl.col("strengths_kind").is_null() & ~pl.col("error").str.contains(_NO_COMPARISON).fill_null(False)
    whole = pl.col("fingerprint").is_not_null() | without
    return before.select("restaurants", lambda rows: rows.filter(of_these, pl.col("strengths").is_not_null(), whole).select(*_OF_A_STAND))


def _stand(row: Mapping[str, Any], language: str, table: Praise) -> Stand:
    found = tuple(Strength(one["aspect"], one["claim"], one["quote"], tuple(one["review_ids"])) for one in row["strengths"])
    return Stand(row["restaurant_id"], language, table, found, parted(row["fingerprint"])[1])


def _may_change(stand: Stand, peers: tuple[str, ...], tables: Mapping[str, Praise | None], running: set[str]) -> bool:
    if not running.isdisjoint(peers):
        return True
    others = comparable(stand.table, (tables.get(peer) for peer in peers))
    return mark_of(figures_of(stand.table, others), len(others), peers) != stand.shown
