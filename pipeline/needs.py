"""Tables of praise that restaurants need of one another, and the plans that wait for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from pipeline.records import Needs, Outcome, Plan, Praise
from pipeline.work import Work

Tables = Mapping[str, Praise | None]


class FollowUp(Protocol):
    """A second stage per restaurant, which needs tables of others."""

    name: str

    def table(self, outcome: Outcome) -> Praise | None:
        """What others need of this restaurant."""
        ...

    def follow(self, outcome: Outcome) -> Plan | None:
        """The second stage; None where the first one left nothing to go on with."""
        ...


@dataclass
class _Waiting:
    work: Work
    name: str
    needs: Needs
    missing: set[str]


@dataclass
class Exchange:
    """Keeps every table for the whole run: they are small, and the reviews behind them are long gone."""

    known: dict[str, Praise | None] = field(default_factory=dict)
    _waiting: dict[str, list[_Waiting]] = field(default_factory=dict)

    def ask(self, work: Work, name: str, needs: Needs) -> Tables | None:
        """The tables needed, or None where some are still to come; then the plan is remembered."""
        missing = {restaurant for restaurant in needs.restaurants if restaurant not in self.known}
        if not missing:
            return self._tables(needs)
        waiting = _Waiting(work, name, needs, missing)
        for restaurant in missing:
            self._waiting.setdefault(restaurant, []).append(waiting)
        return None

    def add(self, restaurant_id: str, table: Praise | None) -> Iterator[tuple[Work, str, Tables]]:
        """Adds a table; yields the plans that have all they need now."""
        self.known[restaurant_id] = table
        for waiting in self._waiting.pop(restaurant_id, ()):
            waiting.missing.discard(restaurant_id)
            if not waiting.missing:
                yield waiting.work, waiting.name, self._tables(waiting.needs)

    def give_up(self) -> Iterator[tuple[Work, str, Tables]]:
        """Nothing more will come: what is missing is None. Yields every plan that was waiting."""
        for restaurant_id in list(self._waiting):
            yield from self.add(restaurant_id, None)

    def _tables(self, needs: Needs) -> Tables:
        return {restaurant: self.known[restaurant] for restaurant in needs.restaurants}
