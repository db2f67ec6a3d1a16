"""What a person says about single restaurants, and about how long anybody may wait."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline.errors import BadData, NoInput
from pipeline.printable import printable


@dataclass(frozen=True, slots=True)
class Priorities:
    """`urgent`: restaurants that go first. `deadlines`: by restaurant, with zones. No restaurant starts more than `max_overtake` tokens
    later than first in, first out would have started it; `max_wait` says the same in time. Neither: no bound."""

    urgent: frozenset[str] = frozenset()
    deadlines: Mapping[str, datetime] = field(default_factory=dict)
    max_overtake: int | None = None
    max_wait: timedelta | None = None

    def counted_from(self, began: datetime) -> Priorities:
        """With every deadline as far from now as it was from `began`: for passes that take place one after another."""
        passed = datetime.now(UTC) - began
        return replace(self, deadlines={name: moment + passed for name, moment in self.deadlines.items()})

    def unknown(self, selected: Collection[str]) -> str | None:
        """A warning that names restaurants which are not there; None where all are."""
        absent = sorted((self.urgent | set(self.deadlines)) - set(selected))
        named = ", ".join(map(printable, absent))
        return f"urgent or with a deadline, but not among the selected restaurants: {named}" if absent else None


class NoZone(ValueError):
    """A moment that is another one in every time zone."""


def parse_moment(text: str) -> datetime:
    """An ISO time with its zone, in UTC. Raises NoZone, or ValueError where it is no time."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no ISO time like 2026-11-21T06:00+09:00") from None
    if moment.tzinfo is None:
        raise NoZone(f"{text!r} names no time zone, e.g. 2026-11-21T06:00+09:00")
    return moment.astimezone(UTC)


def read_deadlines(path: Path) -> dict[str, datetime]:
    """Deadlines by restaurant from a Parquet or CSV file with columns restaurant_id and deadline; of two for one restaurant the last.

    Raises NoInput, BadData where the file cannot be used, and NoZone for a deadline without a zone.
    """
    if not path.is_file():
        raise NoInput(f"{path}: no such file of deadlines; check the path")
    try:
        table = pl.read_csv(path, infer_schema=False) if path.suffix.lower() == ".csv" else pl.read_parquet(path)
    except (OSError, PolarsError, PanicException) as error:
        raise BadData(f"{path}: cannot be read as {'CSV' if path.suffix.lower() == '.csv' else 'Parquet'} ({str(error)[:120]})") from None
    if missing := {"restaurant_id", "deadline"} - set(table.columns):
        raise BadData(f"{path}: no column {', '.join(sorted(missing))} among {', '.join(table.columns)}")
    rows = table.select(pl.col("restaurant_id").cast(pl.String), "deadline").drop_nulls()
    try:
        return {name: _moment(value) for name, value in rows.iter_rows()}
    except NoZone as error:
        raise NoZone(f"{path}: {error}") from None
    except ValueError as error:
        raise BadData(f"{path}: {error}") from None


def _moment(value: object) -> datetime:
    return parse_moment(value if isinstance(value, str) else value.isoformat() if isinstance(value, datetime) else repr(value))
