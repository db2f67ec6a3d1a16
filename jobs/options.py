"""Option texts to values; a text that cannot be meant is a usage error that says what can."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import click

from pipeline.contract import REVIEWS, Contract
from pipeline.service_levels import ServiceLevel
from pipeline.shard import Shard
from pipeline.tasks.known import TASKS
from pipeline.uris import is_uri, keep_out_secrets

LONGEST = timedelta(days=36_500)
"""A hundred years: more leaves the calendar."""
LEVEL_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def columns_of(contract: Contract) -> Callable[[click.Context, click.Parameter, Sequence[str]], dict[str, str]]:
    """Reads NAME=YOURS pairs as a mapping from this contract's names."""

    def parse(_: click.Context, __: click.Parameter, pairs: Sequence[str]) -> dict[str, str]:
        mapped: dict[str, str] = {}
        for pair in pairs:
            ours, equals, theirs = pair.partition("=")
            if not equals or not theirs or ours not in contract.columns:
                raise click.BadParameter(f"{pair!r} is not NAME=YOUR_COLUMN with NAME one of {', '.join(contract.columns)}")
            mapped[ours] = theirs
        return mapped

    return parse


parse_columns = columns_of(REVIEWS)


def parse_output(_: click.Context, __: click.Parameter, text: str | None) -> Path | None:
    """A local folder."""
    if text is None:
        return None
    if "://" in text:
        raise click.BadParameter(f"{text!r} is no local folder; name a local or mounted one")
    return Path(text)


def parse_place(_: click.Context, __: click.Parameter, text: str | None) -> Path | str | None:
    """A local folder, or the URI of a place in an object store. Raises BadConfiguration for one with credentials in it."""
    if text is not None:
        keep_out_secrets(text)
    return text if text is None or is_uri(text) else Path(text)


def parse_inputs(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> Sequence[str]:
    """Names of files, folders, patterns, URIs. Raises BadConfiguration for one with credentials in it."""
    for text in texts:
        keep_out_secrets(text)
    return texts


def parse_tasks(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    """Comma-separated task names, in the order of TASKS."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in TASKS]
    if unknown or not names:
        raise click.BadParameter(f"unknown task {', '.join(map(repr, unknown)) or repr(text)}; choose from {', '.join(TASKS)}")
    return tuple(name for name in TASKS if name in names)


def parse_moment(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """An ISO date or time to UTC without a zone, as `created_at` is compared."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not an ISO date or time, e.g. 2026-11-20 or 2026-11-20T06:00+09:00") from None
    return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment


def parse_deadline(_: click.Context, __: click.Parameter, text: str | None) -> datetime | None:
    """An ISO time with its zone, or a time of day (this machine's zone unless it names one): the next moment when it is that time."""
    if text is None:
        return None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise click.BadParameter(f"{text!r} names no time zone, e.g. 2026-11-21T05:45+09:00")
        return moment
    try:
        of_day = time.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither a time of day like 05:45 nor an ISO time like 2026-11-21T05:45+09:00") from None
    now = datetime.now(of_day.tzinfo or UTC).astimezone(of_day.tzinfo)
    moment = datetime.combine(now.date(), of_day, of_day.tzinfo or now.tzinfo)
    return moment if moment > now else moment + timedelta(days=1)


def parse_duration(_: click.Context, __: click.Parameter, text: str | None) -> timedelta | None:
    """A number with a unit: 90d, 12h, 30m, 45s."""
    if text is None:
        return None
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    if text[-1:] in units and text[:-1].isdecimal():
        with suppress(OverflowError, ValueError):  # more days than there are, more digits than Python reads
            found = timedelta(**{units[text[-1]]: int(text[:-1])})
            if found <= LONGEST:
                return found
    raise click.BadParameter(f"{text!r} is no duration like 90d, 12h, 30m or 45s")


def parse_levels(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> tuple[ServiceLevel, ...]:
    """Service levels like ttft=2s, ttft.sentiment=500ms, restaurant=10m; each name once."""
    levels: dict[str, ServiceLevel] = {}
    for text in texts:
        name, _equals, limit = text.partition("=")
        of, dot, task = name.partition(".")
        if of not in ("ttft", "restaurant") or (dot and (of != "ttft" or task not in (*TASKS, "query_expansion"))):
            known = f"ttft=2s, ttft.TASK=2s (TASK: {', '.join(TASKS)}, query_expansion) or restaurant=10m"
            raise click.BadParameter(f"{text!r} is no service level; there are {known}")
        matched = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", limit)
        seconds = float(matched[1]) * LEVEL_UNITS[matched[2]] if matched else 0.0
        if not 0 < seconds < float("inf"):
            raise click.BadParameter(f"{text!r} names no time above 0 like 500ms, 2s, 10m or 1.5h")
        if name in levels:
            raise click.BadParameter(f"{name} is given twice")
        levels[name] = ServiceLevel("ttft" if of == "ttft" else "restaurant", seconds, task or None)
    return tuple(levels.values())


def parse_shard(_: click.Context, __: click.Parameter, text: str | None) -> Shard | None:
    """One of several shards: 3/16."""
    if text is None:
        return None
    index, slash, count = text.partition("/")
    if slash and index.isdecimal() and count.isdecimal():
        with suppress(ValueError):
            return Shard(int(index), int(count))
    raise click.BadParameter(f"{text!r} is no shard like 3/16, from 1/16 to 16/16")


def parse_size(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    """Bytes, or a number with a unit: 500MB, 20GB."""
    if text is None:
        return None
    units = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number, factor = (text[:-2], units[text[-2:].upper()]) if text[-2:].upper() in units else (text, 1)
    if not number.isdigit():
        raise click.BadParameter(f"{text!r} is no size like 500MB or 20GB")
    return int(number) * factor


def parse_day(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """A day's name, YYYY-MM-DD."""
    if text is None:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").date().isoformat()  # noqa: DTZ007 - a day's name, not a moment
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a day like 2026-11-20") from None


def parse_allowance(_: click.Context, __: click.Parameter, text: str) -> tuple[float, bool]:
    """A number of restaurants, or a share in percent: (value, whether it is a percentage)."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise click.BadParameter(f"{text!r} is neither a number of restaurants nor a share like 5%")
    return value, text.endswith("%")
