"""Tables of praise that restaurants need of one another, and the second stages that wait for them.

Whoever waits is data in a file, not an open plan: of a million restaurants nearly all may have to wait for one that comes late.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from pipeline.aside import Aside
from pipeline.records import Outcome, Plan, Praise, Restaurant

Tables = Mapping[str, Praise | None]
Ready = tuple[Restaurant, Any, Tables]


class FollowUp(Protocol):
    """A second stage per restaurant, which needs tables of others."""

    name: str

    def table(self, outcome: Outcome) -> Praise | None:
        """What others need of this restaurant."""
        ...

    def stand(self, outcome: Outcome) -> Any | None:
        """What the second stage begins with, which can be pickled; None where the first one left nothing to go on with."""
        ...

    def needs(self, restaurant_id: str) -> tuple[str, ...]:
        """The restaurants whose tables it waits for."""
        ...

    def plan(self, stand: Any, tables: Tables) -> Plan:
        """The second stage. `tables`: None for those that left none."""
        ...


class Exchange:
    """Keeps every table for the whole run: they are small, and the reviews behind them are long gone.

    A restaurant that waits stands under one of those it waits for, and when that one has come under the next that has not (the watched
    literals of Moskewicz et al. 2001, "Chaff: Engineering an Efficient SAT Solver", DAC): an entry for each, however many it needs.
    """

    def __init__(self, follow_up: FollowUp | None, known: Tables, folder: Path | None = None) -> None:
        """`known`: of restaurants that have theirs already. `folder`: for the file, as in `Aside`."""
        self._follow_up = follow_up
        self._known = dict(known)
        self._waiting: dict[str, list[tuple[str, int]]] = {}
        self._aside = Aside("comparisons", folder)

    def ask(self, restaurant: Restaurant, stand: Any) -> Ready | None:
        """A second stage with the tables it needs; None where some are still to come, then it is set aside. Raises TryAgain."""
        if missing := self._missing(restaurant.restaurant_id):
            place = self._aside.put((restaurant, stand))
            self._waiting.setdefault(missing, []).append((restaurant.restaurant_id, place))
            return None
        return restaurant, stand, self._tables(restaurant.restaurant_id)

    def add(self, restaurant_id: str, table: Praise | None) -> Iterator[Ready]:
        """Adds a table; yields those who have all they need now."""
        self._known[restaurant_id] = table
        for name, place in self._waiting.pop(restaurant_id, ()):
            if missing := self._missing(name):
                self._waiting.setdefault(missing, []).append((name, place))
            else:
                yield *self._aside.at(place), self._tables(name)

    def give_up(self) -> Iterator[Ready]:
        """Nothing more will come: what is missing is None. Yields everybody who was waiting."""
        while self._waiting:
            yield from self.add(next(iter(self._waiting)), None)

    def _missing(self, name: str) -> str | None:
        needs = self._follow_up.needs(name) if self._follow_up else ()
        return next((one for one in needs if one not in self._known), None)

    def _tables(self, name: str) -> Tables:
        return {one: self._known[one] for one in self._follow_up.needs(name)} if self._follow_up else {}
