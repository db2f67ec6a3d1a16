"""How far a run is and how fast it goes, counted in prompt tokens."""

from __future__ import annotations

import time

from pipeline.job import Far
from pipeline.records import Request, Restaurant

EVERY_S = 15.0
"""Between two lines of a log."""


class Pace:
    """Prompt tokens, answered of planned. Restaurants alone would mislead: the smallest go first.

    Planned tokens are the estimates of restaurants not yet begun and the exact tokens of all requests made so far.
    """

    def __init__(self, restaurants: int = 0, prompt_tokens: int = 0) -> None:
        self.restaurants, self.planned = restaurants, prompt_tokens
        self.finished = self.answered = 0
        self._began = self._said = time.monotonic()

    def admit(self, restaurant: Restaurant) -> None:
        """Its estimate gives way to the exact tokens of what is asked."""
        self.planned -= restaurant.prompt_tokens

    def ask(self, request: Request) -> None:
        """One request more."""
        self.planned += len(request.prompt)

    def answer(self, request: Request) -> None:
        """One answer more."""
        self.answered += len(request.prompt)

    def come(self, far: Far) -> None:
        """What somebody else has done."""
        self.planned += far.asked - far.admitted
        self.answered += far.answered
        self.finished += far.finished

    def due(self) -> bool:
        """Whether it is time for a line; then the next one is due EVERY_S seconds later."""
        if time.monotonic() - self._said < EVERY_S:
            return False
        self._said = time.monotonic()
        return True

    @property
    def rate(self) -> float:
        """Prompt tokens a second."""
        return self.answered / max(time.monotonic() - self._began, 0.001)

    @property
    def left_s(self) -> float:
        """Seconds to the end at this rate."""
        return max(self.planned - self.answered, 0) / max(self.rate, 0.001)
