"""N workers on paper as a person reads it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jobs.clock_words import clock
from pipeline.simulation.scaled import SPENT, Scaled

LEAST_SHOWN = 0.005
"""Of all workers' seconds: what is below in every row has no column."""


def scale_lines(found: Sequence[Scaled], what: str = "workers") -> Iterator[str]:
    """A row for each number of workers, then what moves each limit."""
    shown = [name for name in SPENT if any(one.spent[name] >= LEAST_SHOWN for one in found)]
    yield f"{what:>8}{'time':>13}{'efficiency':>12}  {'limit':<20}" + "".join(f"{name:>{_width(name)}}" for name in shown)
    for one in found:
        spent = "".join(f"{one.spent[name]:>{_width(name)}.1%}" for name in shown)
        yield f"{one.workers:>8,}{clock(one.seconds):>13}{one.efficiency:>12.0%}  {one.limit or '-':<20}" + spent
    for limit in dict.fromkeys(one.limit for one in found if one.limit):
        yield f"{limit}: {SPENT[limit]}"


def _width(name: str) -> int:
    return max(len(name), 6) + 2
