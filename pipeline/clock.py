"""Time as a run counts it: the wall clock is looked at once, so that setting it under way moves nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Starts when it is made."""

    _began: float = field(default_factory=lambda: time.monotonic())  # the clock of the moment, which a simulated engine replaces
    _today: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def now_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._began

    def seconds_to(self, moment: datetime) -> float:
        """From the start to a moment with a zone; negative where it had passed by then."""
        return (moment - self._today).total_seconds()

    def moment(self, seconds: float) -> datetime:
        """So many seconds after the start, in UTC."""
        return self._today + timedelta(seconds=seconds)
