"""What a run is to do, and who it tells and asks while it does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, Protocol

from pipeline.errors import BadConfiguration
from pipeline.limits import Limits
from pipeline.priorities import Priorities
from pipeline.reading import MOST_INPUT_BYTES
from pipeline.records import Answer, Outcome, Request, Restaurant
from pipeline.reviews import Selection
from pipeline.run import Observer
from pipeline.sampling import MAX_REVIEWS
from pipeline.service_levels import ServiceLevel
from pipeline.shard import Shard
from pipeline.tasks.calibration import Source
from pipeline.tasks.known import TASKS

CHUNK_TOKENS = 2560
"""Tokens of reviews in one chunk at most, where the model's context allows that many; on average five in eight of them are used."""
LEAST_CHUNK_TOKENS = 512
"""Two partial summaries have to fit one prompt, else merging would never end."""


Station = Literal["read", "loaded"]


@dataclass(frozen=True, slots=True)
class Far:
    """How far somebody is, or by how much he has come further: estimated prompt tokens of restaurants begun, prompt tokens asked and
    answered, restaurants finished."""

    admitted: int = 0
    asked: int = 0
    answered: int = 0
    finished: int = 0

    def __sub__(self, before: Far) -> Far:
        return Far(*(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)))


class Progress(Observer, Protocol):
    """What the run tells while it works. `stage`: a line for people. `warn`: what a person should see even where nobody watches; the run
    goes on. `passed`: a station of the flow lies behind the run; `figures`: counts of what was `read`, `seconds` that it or loading the
    engine took. `elsewhere`: what workers
    have done since they were last heard of."""

    def stage(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...
    def passed(self, station: Station, figures: Mapping[str, float]) -> None: ...
    def planned(self, restaurants: int, prompt_tokens: int) -> None: ...
    def elsewhere(self, far: Far) -> None: ...


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
    def elsewhere(self, far: Far) -> None: ...


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
    what was done. `priorities`: restaurants that go first, and how long the others may wait. `shard`: of the restaurants that have
    changed only a share is asked about, to be merged with the shares of others. `merge`: the number of such shards that are to be put
    together."""

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
    shard: Shard | None = None
    merge: int | None = None

    @property
    def place(self) -> Path | str:
        """Where the run works and commits; a shard beside the runs of its output."""
        return self.shard.folder(self.shared) if self.shard else self.output

    @property
    def shared(self) -> Path:
        """Where shards wait to be merged. Raises BadConfiguration for an object store, where they cannot be held together."""
        if isinstance(self.output, str):
            raise BadConfiguration(f"{self.output}: shards are merged in a folder that all machines see; name one for --output")
        return self.output
