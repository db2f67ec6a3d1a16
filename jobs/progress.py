"""What a person sees while a run works: stages, then one bar over planned tokens; in a log file a line now and then."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from tqdm import tqdm

from pipeline.records import Answer, Outcome, Request, Restaurant

EVERY_S = 15.0


class TerminalProgress:
    """Counts prompt tokens, answered of planned. Restaurants alone would mislead: the smallest go first.

    Planned tokens are the estimates of restaurants not yet begun and the exact tokens of all requests made so far.
    """

    def __init__(self, stream: TextIO | None = None, doing: str = "analysing", what: str = "restaurants") -> None:
        self._stream, self._doing, self._what = sys.stderr if stream is None else stream, doing, what
        self._bar: tqdm | None = None
        self._terminal = self._stream.isatty()
        self._planned = self._answered = self._restaurants = self._finished = 0
        self._began = self._said = time.monotonic()

    def stage(self, what: str) -> None:
        self.close()
        print(f"{time.strftime('%H:%M:%S')} {what}", file=self._stream, flush=True)

    def planned(self, restaurants: int, prompt_tokens: int) -> None:
        self._restaurants, self._planned = restaurants, prompt_tokens
        self._answered = self._finished = 0  # a command may work through several things
        self._began = self._said = time.monotonic()
        self.stage(f"{self._doing} {restaurants:,} {self._what}, about {prompt_tokens:,} prompt tokens")
        if self._terminal:
            self._bar = tqdm(total=prompt_tokens, unit="tok", unit_scale=True, file=self._stream, dynamic_ncols=True, desc="tokens")

    def admitted(self, restaurant: Restaurant) -> None:
        self._planned -= restaurant.prompt_tokens

    def asked(self, request: Request) -> None:
        self._planned += len(request.prompt)

    def answered(self, request: Request, answer: Answer) -> None:
        self._answered += len(request.prompt)
        if self._bar is not None:
            self._bar.total = max(self._planned, self._answered)
            self._bar.update(len(request.prompt))
        elif time.monotonic() - self._said >= EVERY_S:
            self._said = time.monotonic()
            print(f"{time.strftime('%H:%M:%S')} {self._line()}", file=self._stream, flush=True)

    def finished(self, outcome: Outcome) -> None:
        self._finished += 1
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._finished}/{self._restaurants} {self._what}", refresh=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self) -> str:
        rate = self._answered / max(time.monotonic() - self._began, 0.001)
        left = max(self._planned - self._answered, 0) / max(rate, 0.001)
        share = self._answered / max(self._planned, 1)
        return f"{share:.0%} of the tokens, {self._finished}/{self._restaurants} {self._what}, {rate:,.0f} tokens/s, {left:,.0f} s left"
