"""How long to wait before a call is tried again. Pure functions."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


def pause(tried: int, base_s: float, most_s: float, draw: float) -> float:
    """Seconds before the next try after `tried` tries, `draw` between 0 and 1: exponential back-off with full jitter (Brooker 2015,
    "Exponential Backoff And Jitter", AWS Architecture Blog), so that callers which failed together do not come back together."""
    return draw * min(most_s, base_s * 2.0 ** (tried - 1)) if tried else 0.0


def asked_to_wait(retry_after: str | None, now: datetime | None = None) -> float | None:
    """Seconds that a `Retry-After` header asks for, a number of them or a date (RFC 9110, 10.2.3); None where it says neither."""
    if retry_after is None:
        return None
    try:
        return max(float(int(retry_after)), 0.0)
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max((moment - (now or datetime.now(UTC))).total_seconds(), 0.0)
