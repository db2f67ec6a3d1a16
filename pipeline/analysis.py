"""One run from dump to commit: the stations of the flow, one after another."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pipeline import results
from pipeline.engine import Engine
from pipeline.errors import BadConfiguration, TaskFailed
from pipeline.manifest import describe, digest, plain
from pipeline.models import Model
from pipeline.order import ORDERS, Order
from pipeline.records import Outcome
from pipeline.restaurants import Groups, group, sample_rates, tokenise
from pipeline.reviews import Dump, Selection, read
from pipeline.rows import tables_of
from pipeline.run import Loop, Observer, Task
from pipeline.tasks.calibration import Fit, anchors
from pipeline.tasks.prompts import does_not_read
from pipeline.tasks.sentiment import SentimentTask, calibrate
from pipeline.tasks.strengths import StrengthsTask
from pipeline.tasks.summary import SummaryTask
from pipeline.tokens import Tokens

TASKS = ("sentiment", "summary", "strengths")
CHUNK_TOKENS = 2048
"""Tokens of reviews in one chunk, where the model's context allows that many."""
LEAST_CHUNK_TOKENS = 512
"""Two partial summaries have to fit one prompt, else merging would never end."""


class Progress(Observer, Protocol):
    """What the run tells while it works."""

    def stage(self, what: str) -> None: ...
    def planned(self, restaurants: int, prompt_tokens: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done. `update` keeps the committed rows of all restaurants that are not selected."""

    inputs: Sequence[str]
    output: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    selection: Selection = field(default_factory=Selection)
    tasks: Sequence[str] = TASKS
    chunk_tokens: int = CHUNK_TOKENS
    update: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """What a run left behind."""

    manifest_path: Path
    manifest: Mapping[str, Any]
    seconds: Mapping[str, float]


class Machine(Protocol):
    """How a run gets a model and an engine; asked only when there is something to ask."""

    @property
    def settings(self) -> Mapping[str, Any]: ...
    def model(self) -> Model: ...
    def engine(self, model: Model) -> Engine: ...


def analyze(job: Job, order: Order, machine: Machine, progress: Progress, check: Callable[[], None] = lambda: None) -> Committed:
    """Reads the dump, asks the model, commits. Raises the errors of `pipeline.errors`; then nothing that readers see has changed.

    `check` is called between two steps of the engine and may raise to stop the run.
    """
    results.check_writable(job.output)
    with results.lock(job.output):
        previous = _previous(job)
        clock = _Clock()
        with clock.measure("read"):
            progress.stage("reading " + ", ".join(job.inputs))
            dump = read(job.inputs, job.columns, job.selection)
        facts: dict[str, Any] = {}
        if dump.reviews.is_empty():
            outcomes: Iterable[Outcome] = (Outcome(one, {}, {}, [], {}, 0.0) for one in group(dump, {}, 0, 0).hand_out(["arrival"]))
            tables = tables_of(outcomes, dump.rejects, job.tasks)
        else:
            with clock.measure("load"):
                progress.stage("loading the model")
                model = machine.model()
                tokens = Tokens(model.folder)
                engine = machine.engine(model)
            with clock.measure("generate"):
                fits = fit_sentiment(dump, tokens, engine, progress, check)
                tasks = _tasks(job.tasks, tokens, fits)
                groups, budget = _grouped(dump, tokens, tasks, job, engine.max_model_len)
                progress.planned(groups.table.height, int(groups.table["estimate"].sum()))
                restaurants = tokenise(groups.hand_out(order.admission), tokens, budget)
                tables = tables_of(Loop(tasks, order, engine, progress).run(restaurants, check), dump.rejects, job.tasks)
            facts = {"model": model.name, "revision": model.revision, "settings": {**machine.settings, "chunk_tokens": budget}}
            facts |= {"wording": {task.name: digest(task.wording) for task in tasks}}
            facts |= {"calibration": {name: asdict(one) for name, one in fits.items()}}
        check()
        with clock.measure("write"):
            progress.stage("writing")
            if previous is not None:
                tables = tables.carry_over(previous.results)
            selection = previous.manifest.get("selection") if previous else plain(asdict(job.selection))
            described = {"selection": selection, "updated": plain(asdict(job.selection)) if previous else None, "order": order.name}
            described |= {"columns": dict(job.columns), "tasks": [name for name in TASKS if name in job.tasks], **facts}
            run_id = results.new_run_id()
            path = results.commit(job.output, run_id, tables, describe(run_id, dump.files, tables, described, clock.seconds))
        return Committed(path, json.loads(path.read_text()), dict(clock.seconds))


def fit_sentiment(dump: Dump, tokens: Tokens, engine: Engine, progress: Progress, check: Callable[[], None]) -> dict[str, Fit]:
    """Asks the anchors before anything of the dump is asked: fits the boundary, and finds out which languages the model reads."""
    progress.stage("calibrating on the anchor reviews")
    try:
        fits: dict[str, Fit] = Loop([], ORDERS["fifo"], engine).finish(calibrate(tokens, anchors(dump.reviews["language"].unique())), check)
    except TaskFailed as error:
        raise BadConfiguration(f"{error}; choose another --model") from None
    for language, one in fits.items():
        if not one.readable:
            progress.stage(f"warning: {does_not_read([language])} (area under the curve on its anchor reviews: {one.auc:.2f})")
    return fits


def _previous(job: Job) -> results.Previous | None:
    """The committed run whose other rows are kept, read before anything is computed. A narrow run must not replace a wider one unasked."""
    before = results.committed(job.output)
    if before is None or job.update:
        return results.read_back(before) if before else None
    if not job.selection.whole and before[1].get("selection") != plain(asdict(job.selection)):
        raise BadConfiguration(
            f"{job.output}: holds results of another selection, which this narrower run would replace; "
            "add --update to keep its other restaurants, or choose another --output"
        )
    return None


def _tasks(names: Sequence[str], tokens: Tokens, fits: Mapping[str, Fit]) -> list[Task]:
    readable = {language for language, one in fits.items() if one.readable}
    makers: dict[str, Callable[[], Task]] = {
        "sentiment": lambda: SentimentTask(tokens, fits),
        "summary": lambda: SummaryTask(tokens, readable),
        "strengths": lambda: StrengthsTask(tokens, readable),
    }
    return [makers[name]() for name in TASKS if name in names]


def _grouped(dump: Dump, tokens: Tokens, tasks: Sequence[Task], job: Job, max_model_len: int) -> tuple[Groups, int]:
    overhead = max(task.overhead for task in tasks)
    budget = min(job.chunk_tokens, max_model_len - overhead)
    if budget < LEAST_CHUNK_TOKENS:
        raise BadConfiguration(f"the model takes {max_model_len} tokens, {overhead} of them are not for reviews; raise max_model_len")
    per_review = sum(task.overhead for task in tasks if task.name == "sentiment")
    per_restaurant = sum(task.overhead for task in tasks) - per_review
    return group(dump, sample_rates(dump.reviews, tokens), per_review, per_restaurant), budget


class _Clock:
    """Seconds per stage of the run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(("read", "load", "generate", "write"), 0.0)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        began = time.monotonic()
        try:
            yield
        finally:
            self.seconds[stage] = round(time.monotonic() - began, 3)
