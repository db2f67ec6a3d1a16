"""Ending on purpose before everything is done: at a moment, or after so many prompt tokens."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Limits:
    """No request is fed after `stop_at` (a moment with a zone), none that would take the run over `max_prompt_tokens`.

    What the engine holds by then is finished. The wall clock is looked at once, so that setting it under way moves nothing.
    """

    stop_at: datetime | None = None
    max_prompt_tokens: int | None = None
    _began: float = field(default_factory=time.monotonic, repr=False)
    _today: datetime = field(default_factory=lambda: datetime.now(UTC), repr=False)

    def reached(self, prompt_tokens: int) -> str | None:
        """Why nothing more is fed, given the run's prompt tokens with the next request; None where it may go on."""
        if self.stop_at is not None and time.monotonic() - self._began >= (self.stop_at - self._today).total_seconds():
            return f"the run was to stop at {self.stop_at.isoformat(timespec='minutes')}"
        if self.max_prompt_tokens is not None and prompt_tokens > self.max_prompt_tokens:
            return f"the run was to ask no more than {self.max_prompt_tokens:,} prompt tokens"
        return None
