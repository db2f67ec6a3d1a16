"""What a run is to do, and who it tells and asks while it does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from pipeline.limits import Limits
from pipeline.priorities import Priorities
from pipeline.reading import MOST_INPUT_BYTES
from pipeline.records import Answer, Outcome, Request, Restaurant
from pipeline.reviews import Selection
from pipeline.run import Observer
from pipeline.sampling import MAX_REVIEWS
from pipeline.service_levels import ServiceLevel
from pipeline.tasks.calibration import Source
from pipeline.tasks.known import TASKS

CHUNK_TOKENS = 2560
"""Tokens of reviews in one chunk at most, where the model's context allows that many; on average five in eight of them are used."""
LEAST_CHUNK_TOKENS = 512
"""Two partial summaries have to fit one prompt, else merging would never end."""


Station = Literal["read", "loaded"]


class Progress(Observer, Protocol):
    """What the run tells while it works. `stage`: a line for people. `warn`: what a person should see even where nobody watches; the run
    goes on. `passed`: a station of the flow lies behind the run; `figures`: counts of what was `read`, `seconds` that it or loading the
    engine took."""

    def stage(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...
    def passed(self, station: Station, figures: Mapping[str, float]) -> None: ...
    def planned(self, restaurants: int, prompt_tokens: int) -> None: ...


class Silent:
    """Tells nobody."""

    def stage(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...
    def passed(self, station: Station, figures: Mapping[str, float]) -> None: ...
    def planned(self, restaurants: int, prompt_tokens: int) -> None: ...
    def admitted(self, restaurant: Restaurant) -> None: ...
    def asked(self, request: Request) -> None: ...
    def answered(self, request: Request, answer: Answer) -> None: ...
    def finished(self, outcome: Outcome) -> None: ...


class Stop:
    """Nobody stops the run. A command puts in its place what raises between two steps, and not while something is `held`."""

    def __call__(self) -> None: ...

    def also(self, check: Callable[[], None]) -> Stop:
        """This one, and what `check` raises between two steps."""
        return _Both(self, check)

    def held(self) -> AbstractContextManager[None]:
        """For what must not be torn apart."""
        return nullcontext()

    def over(self) -> None:
        """The results are committed: what comes now ends nothing more."""


class _Both(Stop):
    def __init__(self, first: Stop, check: Callable[[], None]) -> None:
        self._first, self._check = first, check

    def __call__(self) -> None:
        self._first()
        self._check()

    def held(self) -> AbstractContextManager[None]:
        return self._first.held()

    def over(self) -> None:
        self._first.over()


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. `output`: a folder, or the URI of a place in an object store. `queries`: files of search queries to be expanded
    in the same run. `two_stage` compares restaurants with their peers, else each is described alone. `max_reviews`: of a restaurant that
    its summary and strengths are made from, by `sampling.sample`; None for all. `update` keeps the committed rows of all restaurants that
    are not selected. `store`: folder of answers already paid for; None keeps them for this run only. `force` asks everything anew,
    `recalibrate` fits the boundary of sentiment anew, on what `calibrate_on` says. `service_levels`: what is promised, to be held against
    what was done. `priorities`: restaurants that go first, and how long the others may wait."""

    inputs: Sequence[str]
    output: Path | str
    columns: Mapping[str, str] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    tasks: Sequence[str] = TASKS
    queries: Sequence[str] = ()
    two_stage: bool = True
    chunk_tokens: int = CHUNK_TOKENS
    max_reviews: int | None = MAX_REVIEWS
    update: bool = False
    store: Path | None = None
    force: bool = False
    recalibrate: bool = False
    calibrate_on: Source = "anchors"
    max_input_bytes: int = MOST_INPUT_BYTES
    limits: Limits = field(default_factory=Limits)
    service_levels: Sequence[ServiceLevel] = ()
    priorities: Priorities = field(default_factory=Priorities)
