"""What a person sees while a run works: stages, then one bar over planned tokens; in a log file a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from tqdm import tqdm

from jobs.pace import Pace
from pipeline.job import Far, Station
from pipeline.records import Answer, Outcome, Request, Restaurant


class TerminalProgress:
    """Lines and a bar on a terminal."""

    def __init__(self, stream: TextIO | None = None, doing: str = "analysing", what: str = "restaurants") -> None:
        self._stream, self._doing, self._what = sys.stderr if stream is None else stream, doing, what
        self._bar: tqdm | None = None
        self._terminal = self._stream.isatty()
        self._pace = Pace()

    def stage(self, what: str) -> None:
        self.close()
        print(f"{time.strftime('%H:%M:%S')} {what}", file=self._stream, flush=True)

    def warn(self, what: str) -> None:
        self.stage(f"warning: {what}")

    def passed(self, station: Station, figures: Mapping[str, float]) -> None: ...

    def planned(self, restaurants: int, prompt_tokens: int) -> None:
        self._pace = Pace(restaurants, prompt_tokens)  # a command may work through several things
        self.stage(f"{self._doing} {restaurants:,} {self._what}, about {prompt_tokens:,} prompt tokens")
        if self._terminal:
            self._bar = tqdm(total=prompt_tokens, unit="tok", unit_scale=True, file=self._stream, dynamic_ncols=True, desc="tokens")

    def admitted(self, restaurant: Restaurant) -> None:
        self._pace.admit(restaurant)

    def asked(self, request: Request) -> None:
        self._pace.ask(request)

    def answered(self, request: Request, answer: Answer) -> None:
        self._pace.answer(request)
        self._advance(len(request.prompt))

    def finished(self, outcome: Outcome) -> None:
        self._pace.finished += 1
        self._show_finished()

    def elsewhere(self, far: Far) -> None:
        self._pace.come(far)
        self._advance(far.answered)
        self._show_finished()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _advance(self, tokens: int) -> None:
        if self._bar is not None:
            self._bar.total = max(self._pace.planned, self._pace.answered)
            self._bar.update(tokens)
        elif self._pace.due():
            print(f"{time.strftime('%H:%M:%S')} {self._line()}", file=self._stream, flush=True)

    def _show_finished(self) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(f"{self._pace.finished}/{self._pace.restaurants} {self._what}", refresh=False)

    def _line(self) -> str:
        pace = self._pace
        share, rate, left = pace.answered / max(pace.planned, 1), pace.rate, pace.left_s
        done = f"{pace.finished}/{pace.restaurants} {self._what}"
        return f"{share:.0%} of the tokens, {done}, {rate:,.0f} tokens/s, {left:,.0f} s left"
