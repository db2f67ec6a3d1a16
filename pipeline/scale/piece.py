"""What goes to a worker and what comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.comparing import Comparing
from pipeline.costs import CostModel, Step
from pipeline.dump import Dump
from pipeline.limits import Limits
from pipeline.records import Praise
from pipeline.spread import Spread, ranges_for
from pipeline.steps import Spent
from pipeline.stored import Begun
from pipeline.suspects import Suspect
from pipeline.tasks.calibration import Fit
from pipeline.tasks.comparison import Stand

Rows = tuple[pl.DataFrame, pl.DataFrame]
"""Reviews and rejects, in the order of a dump."""


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one piece: as `Limits`, whose clock is that of the machine it is made on."""

    stop_at: datetime | None = None
    max_prompt_tokens: int | None = None

    def here(self) -> Limits:
        return Limits(self.stop_at, self.max_prompt_tokens)


@dataclass(frozen=True, slots=True)
class Piece:
    """Restaurants that one worker looks at, and their fingerprints (`marks`); their rows go beside it, once, whoever answers it in the end.
    Or the comparisons that are due in `comparing`, which has no others. `rates`: what requests are expected to cost.
    `begun`: the run, where it serves no earlier answers. `suspects`: requests inside engines that have died of this piece, once for each of
    so many `deaths`."""

    number: int
    marks: Mapping[str, str]
    comparing: Comparing
    fits: Mapping[str, Fit]
    limit: Limit
    rates: CostModel
    begun: Begun | None
    suspects: Sequence[Suspect] = ()
    deaths: int = 0

    def again(self, suspects: Sequence[Suspect]) -> Piece:
        """The same piece after another death."""
        return replace(self, suspects=(*self.suspects, *suspects), deaths=self.deaths + 1)


def dump_of(rows: Rows, folder: Path) -> Dump:
    """The rows of a piece; `folder`: where those go that do not fit in memory."""
    reviews, rejects = rows
    ranges = ranges_for([reviews["restaurant_id"]], int(reviews.estimated_size()), folder)
    rejected = Spread("rejects", rejects.schema, ranges)
    rejected.append(rejects)
    return Dump.of([reviews], Spread("dump", reviews.schema, ranges), rejected)


@dataclass(frozen=True, slots=True)
class Done:
    """Rows of a piece, with seconds from `first_request` on, and what they cost: `steps` and `spent` of the worker's engine, and
    what its `store` has looked up, served and added."""

    number: int
    restaurants: pl.DataFrame
    reviews: pl.DataFrame
    requests: pl.DataFrame
    second: pl.DataFrame
    first_request: datetime
    idle_s: float
    steps: Sequence[Step]
    spent: Spent
    store: Mapping[str, float]


def comparisons(due: Mapping[str, Stand], whole: Comparing, tables: Mapping[str, Praise | None]) -> Comparing:
    """What a worker has to know for these comparisons and no others."""
    peers = {name: whole.peers[name] for name in due if name in whole.peers}
    needed = {peer for chosen in peers.values() for peer in chosen}
    return Comparing(
        peers,
        {name: whole.languages[name] for name in due},
        {name: tables[name] for name in sorted(needed) if name in tables},
        due,
    )


def first_stages(names: Mapping[str, str], whole: Comparing) -> Comparing:
    """Of a piece whose comparisons all wait for the second pass."""
    return Comparing({}, {name: whole.languages[name] for name in names if name in whole.languages}, later=frozenset(names))
