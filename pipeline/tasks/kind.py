"""What the job has to know of a task, said in the task's own file: its name, its columns, what makes it. `known.py` finds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

    from pipeline.records import Restaurant
    from pipeline.tasks.calibration import Fit
    from pipeline.tasks.sentiment import SentimentTask
    from pipeline.tokens import Tokens
    from pipeline.work import Task

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Means:
    """What tasks are made of: the model's `tokens`, the `fits` of its calibration by language, and `sentiment`, whose questions about
    single reviews others may ask as well (equal questions are asked once)."""

    tokens: Tokens
    fits: Mapping[str, Fit]
    sentiment: SentimentTask

    @property
    def readable(self) -> set[str]:
        """Languages that the model was found to read."""
        return {language for language, one in self.fits.items() if one.readable}


def nothing(_: Any, __: Restaurant) -> Row:
    """Of a task that has no column of its own."""
    return {}


@dataclass(frozen=True, slots=True)
class TaskKind:
    """A task, before there is a model. `rank`: its place in the order `task` and in lists. `wording`: everything that changes its answers;
    where it changes, they are asked anew. `make`: the task itself. `columns`: its own in `restaurants.parquet`, beside those of the
    contract (`schemas.py`). `row`: the values of its columns out of its result (None where there is none) and the restaurant.
    `output_tokens`: mean of an answer, by stage, before any was measured; where nothing is said, one. `of_restaurants`: not of search
    queries."""

    name: str
    rank: int
    wording: str
    make: Callable[[Means], Task]
    columns: Mapping[str, pl.DataType] = field(default_factory=dict)
    row: Callable[[Any, Restaurant], Row] = nothing
    output_tokens: Mapping[str, float] = field(default_factory=dict)
    of_restaurants: bool = True
