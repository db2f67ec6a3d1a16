"""Who is told how a run begins and ends. What fails there costs a warning, never the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol

from jobs.exit_codes import exit_code_of
from pipeline.analysis import Committed
from pipeline.durable import first_line
from pipeline.results import new_run_id


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a command. `inputs` and `output` as they were given, `date`: the day's name of the partition."""

    command: str
    inputs: Sequence[str]
    output: Path | str
    date: str | None
    run_id: str = field(default_factory=new_run_id)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


@dataclass(frozen=True, slots=True)
class End:
    """What came of it. `done`: the committed run, or the one that is up to date; None where nothing was committed. `error`: what ended the
    command before its end, which may be after its commit."""

    exit_code: int
    done: Committed | None = None
    error: BaseException | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class RunObserver(Protocol):
    """Whom a run's beginning and end are told to; both may raise anything."""

    def began(self, run: Run) -> None: ...
    def ended(self, run: Run, end: End) -> None: ...


class Observed:
    """A run from its beginning to its end, around all that a command does. Set `done` as soon as there is a commit."""

    def __init__(self, run: Run, observers: Sequence[RunObserver], warn: Callable[[str], None]) -> None:
        self.run = run
        self.done: Committed | None = None
        self._observers, self._warn = list(observers), warn

    def __enter__(self) -> Observed:
        self._observers = [one for one in self._observers if self._told(one, partial(one.began, self.run))]  # one warning is enough
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        end = End(exit_code_of(error), self.done, None if isinstance(error, SystemExit) else error)
        for one in self._observers:
            self._told(one, partial(one.ended, self.run, end))

    def _told(self, observer: RunObserver, tell: Callable[[], None]) -> bool:
        try:
            tell()
        except Exception as error:
            with suppress(OSError, ValueError):  # nobody listens
                self._warn(f"{type(observer).__name__.lower()}: {first_line(error)}; the run does not depend on it")
            return False
        return True
