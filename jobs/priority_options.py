"""Options about restaurants that go first, and about how long others may wait for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import click

from jobs.options import parse_duration
from pipeline.priorities import NoZone, Priorities, parse_moment, read_deadlines

F = TypeVar("F", bound=Callable[..., Any])


def parse_deadlines(ctx: click.Context, param: click.Parameter, given: Sequence[str]) -> dict[str, datetime]:
    """RESTAURANT=TIME pairs, a time from now on as +2h, and files of them; of two for one restaurant the last. Raises NoInput, BadData."""
    found: dict[str, datetime] = {}
    for text in given:
        if text.lower().endswith((".parquet", ".csv")):
            try:
                found |= read_deadlines(Path(text))
            except NoZone as error:
                raise click.BadParameter(str(error)) from None
            continue
        name, _equals, moment = text.rpartition("=")
        if not name:
            raise click.BadParameter(f"{text!r} is neither RESTAURANT=TIME nor a .parquet or .csv file")
        if moment.startswith("+"):
            found[name] = datetime.now(UTC) + (parse_duration(ctx, param, moment[1:]) or timedelta())
            continue
        try:
            found[name] = parse_moment(moment)
        except ValueError as error:
            raise click.BadParameter(f"{name}: {error}") from None
    return found


def priority_options(command: F) -> F:
    """Adds --deadline, --urgent, --max-overtake, --max-wait."""
    options = [
        click.option(
            "--deadline",
            multiple=True,
            callback=parse_deadlines,
            metavar="RESTAURANT=TIME|FILE",
            help="When a restaurant has to be answered, e.g. 1024=2026-11-21T06:00+09:00, or 1024=+2h from now, or a Parquet or CSV file "
            "with restaurant_id and deadline. Only --order hybrid acts on it; met or missed is told with every order. Readers see it with "
            "the commit: see --stop-at. Repeatable.",
        ),
        click.option(
            "--urgent",
            multiple=True,
            metavar="RESTAURANT",
            help="Goes before all others, in every order but fifo. Repeatable.",
        ),
        click.option(
            "--max-overtake",
            type=click.IntRange(min=0),
            metavar="TOKENS",
            help="No restaurant starts more than so many estimated tokens later than fifo would have started it; what goes first as urgent "
            "or for its deadline comes on top.  [default: no bound]",
        ),
        click.option(
            "--max-wait",
            callback=parse_duration,
            metavar="TIME",
            help="The same as a time, e.g. 10m; converted to tokens by the predicted rate.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def make_priorities(
    deadline: Mapping[str, datetime], urgent: Sequence[str], max_overtake: int | None, max_wait: timedelta | None
) -> Priorities:
    """From the options of `priority_options`."""
    if max_overtake is not None and max_wait is not None:
        raise click.UsageError("--max-overtake and --max-wait say the same in two units; give one of them")
    return Priorities(frozenset(urgent), dict(deadline), max_overtake, max_wait)
