"""Seconds in words."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """As a person says them: `90 s`, `15 min`, `3 h 05 min`."""
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes // 60:,} h {minutes % 60:02} min"
