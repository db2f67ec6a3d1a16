"""Values to the words of a page. Nothing there shows as a dash."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

NOTHING = "–"
SIZES = ("B", "KB", "MB", "GB", "TB")


def number(value: float | None, digits: int = 0) -> str:
    """With thousands set apart."""
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share between 0 and 1. One of all only where it is all, none only where it is none."""
    if value is None:
        return NOTHING
    rounded = round(value * 100)
    return "> 99 %" if rounded == 100 and value < 1 else "< 1 %" if rounded == 0 and value > 0 else f"{rounded} %"


def clock(seconds: float | None) -> str:
    """A stretch of time."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.2g} s" if seconds >= 0.001 else "0 s"
    whole = round(seconds)
    minutes, hours = whole // 60, whole // 3600
    return f"{whole} s" if whole < 120 else f"{minutes} min {whole % 60:02} s" if hours < 2 else f"{hours} h {minutes % 60:02} min"


def size(value: float | None) -> str:
    """Bytes."""
    if value is None:
        return NOTHING
    unit = min(int(math.log10(max(value, 1))) // 3, len(SIZES) - 1)
    scaled = value / 1000**unit
    return f"{scaled:.0f} {SIZES[unit]}" if not unit or scaled >= 100 else f"{scaled:.1f} {SIZES[unit]}"


def day(value: datetime | None) -> str:
    return NOTHING if value is None else f"{value:%Y-%m-%d}"


def moment(value: str | datetime | None) -> str:
    """To the minute, in its own zone."""
    if value is None:
        return NOTHING
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        return str(value)
    return f"{at:%Y-%m-%d %H:%M} {at.tzname() or ''}".strip()


def plural(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def plain(value: Any) -> Any:
    """A text as a page may show it: what a terminal or a reader's eye would act on becomes a sign. Anything else stays."""
    return value.translate(_SIGNS) if isinstance(value, str) else value


_SIGNS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xFFF9, 0xFFFC), 0xFFFE, 0xFFFF], 0xFFFD),
}
"""Control characters, those that turn the direction of what follows, and what is no character. Joiners of scripts and emoji are none of
them."""
