"""The progress of a run as lines of the log for machines; see `log.py` for what stands on them."""

from __future__ import annotations

from collections.abc import Mapping

from jobs.log import Log, numbers
from jobs.observed import End, Run
from jobs.pace import Pace
from jobs.shareable import shareable
from pipeline.job import Far, Station
from pipeline.records import Answer, Outcome, Request, Restaurant


class JsonProgress:
    """Told what a run does, and how it begins and ends; that it failed is the error boundary's to say."""

    def __init__(self, log: Log, what: str = "restaurants") -> None:
        self._log, self._what = log, what
        self._pace = Pace()

    def began(self, run: Run) -> None:
        self._log.run_id, self._log.date = run.run_id, run.date
        self._log.line("started", command=run.command, inputs=len(run.inputs))

    def ended(self, run: Run, end: End) -> None:
        if end.done is None:
            return
        where, manifest = {"manifest": str(end.done.manifest_path), "exit_code": end.exit_code}, end.done.manifest
        if end.done.nothing_new:
            self._log.line("nothing_new", stands=manifest["run_id"], **where)
        else:
            counted = {name: numbers(manifest[name]) for name in ("counts", "tokens")}
            self._log.line("committed", **counted, seconds=dict(end.done.seconds), **where)

    def stage(self, what: str) -> None:
        self._log.line("stage", message=shareable(what))

    def warn(self, what: str) -> None:
        self._log.line("warning", message=shareable(what))

    def passed(self, station: Station, figures: Mapping[str, float]) -> None:
        self._log.line(station, **figures)

    def planned(self, restaurants: int, prompt_tokens: int) -> None:
        self._pace = Pace(restaurants, prompt_tokens)
        self._log.line("planned", **{self._what: restaurants}, prompt_tokens=prompt_tokens)

    def admitted(self, restaurant: Restaurant) -> None:
        self._pace.admit(restaurant)

    def asked(self, request: Request) -> None:
        self._pace.ask(request)

    def answered(self, request: Request, answer: Answer) -> None:
        self._pace.answer(request)
        self._tell()

    def finished(self, outcome: Outcome) -> None:
        self._pace.finished += 1

    def elsewhere(self, far: Far) -> None:
        self._pace.come(far)
        self._tell()

    def close(self) -> None: ...

    def _tell(self) -> None:
        if self._pace.due():
            pace = self._pace
            done = {"finished": pace.finished, self._what: pace.restaurants}
            tokens = {"answered_tokens": pace.answered, "prompt_tokens": pace.planned}
            self._log.line("progress", **done, **tokens, tokens_per_s=round(pace.rate, 1), left_s=round(pace.left_s, 1))
