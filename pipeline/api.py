"""The job in one call: reviews in, result frames out. The command `analyze` is a thin layer over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import polars as pl

from pipeline.analysis import Committed
from pipeline.analysis import analyze as run
from pipeline.engine_settings import Device, Feed
from pipeline.errors import BadConfiguration
from pipeline.job import Job, Progress, Silent, Stop
from pipeline.limits import Limits
from pipeline.machine import MODEL_CACHE, local_machine
from pipeline.order import ORDERS
from pipeline.priorities import Priorities
from pipeline.reviews import Selection
from pipeline.runtime import Machine
from pipeline.sampling import MAX_REVIEWS
from pipeline.scale.cluster import Cluster
from pipeline.service_levels import ServiceLevel
from pipeline.shard import Shard
from pipeline.tasks.calibration import Source
from pipeline.tasks.known import TASKS
from pipeline.uris import is_uri, without_secrets

if TYPE_CHECKING:
    from pipeline.remote.endpoint import Endpoint

Reviews = str | Path | pl.LazyFrame | pl.DataFrame | Sequence[str | Path]


class Options(TypedDict, total=False):
    """Of a job, see there. `store` is beside the output unless it is named, `None` for nowhere."""

    columns: Mapping[str, str]
    selection: Selection
    tasks: Sequence[str]
    queries: Sequence[str]
    two_stage: bool
    chunk_tokens: int
    max_reviews: int | None
    update: bool
    store: Path | None
    force: bool
    recalibrate: bool
    calibrate_on: Source
    max_input_bytes: int
    limits: Limits
    service_levels: Sequence[ServiceLevel]
    priorities: Priorities
    shard: Shard | None
    merge: int | None


def analyze(
    reviews: Reviews,
    output: str | Path,
    *,
    order: str = "restaurant",
    model: str | None = None,
    device: Device | None = None,
    feed: Feed = "continuous",
    engine_options: Mapping[str, Any] | None = None,
    model_cache: Path = MODEL_CACHE,
    verbose: bool = False,
    endpoint: Endpoint | None = None,
    progress: Progress | None = None,
    stop: Stop | None = None,
    run_id: str | None = None,
    cluster: Cluster | None = None,
    **job: Unpack[Options],
) -> Committed:
    """Analyses reviews into `output`, a folder or a URI, as the command: what is there already is carried over, and answers that were paid
    for are not asked again. Returns the committed run, with its frames.

    `reviews`: Parquet files, globs, folders or object-store URIs, or a frame with the contract's columns. `order`: a name of ORDERS.
    `model` to `verbose`: see `machine.local_machine`. `endpoint`: an engine that runs elsewhere, in place of this machine's; then only
    `model` (for its tokenizer) and `model_cache` count of these. `cluster`: whose workers do the work, in place of this machine's engine.
    `progress` is told what happens, nobody unless it is given; `stop` is called between two steps of the engine and may raise to end the
    run. `run_id`: the run's name, of `results.new_run_id`, where somebody has to know it beforehand. `job`: see Job.

    Raises the errors of `pipeline.errors`, and what a lazy frame raises; then nothing that readers see has changed, and the same call goes
    on where this one ended.
    """
    if order not in ORDERS:
        raise BadConfiguration(f"order {order!r}: no such order; there are {', '.join(ORDERS)}")
    told = progress or Silent()
    frame, inputs = None, []
    if isinstance(reviews, (pl.DataFrame, pl.LazyFrame)):
        frame = reviews.lazy()
    else:
        inputs = [str(one) for one in ([reviews] if isinstance(reviews, (str, Path)) else reviews)]
    asked = job_for(inputs, output, **job)
    if cluster and endpoint:
        raise BadConfiguration("workers have engines of their own: work on a cluster or with an engine elsewhere, not both")
    with ExitStack() as until_done:
        machine: Machine
        if cluster:
            machine = until_done.enter_context(cluster.machine(asked, order, told, model, device, feed, engine_options, model_cache))
        elif endpoint:
            from pipeline.remote.machine import RemoteMachine  # a run on this machine needs none of it

            machine = until_done.enter_context(RemoteMachine(endpoint, model, model_cache, told.stage))
        else:
            machine = local_machine(model, device, feed, engine_options, model_cache, verbose, told.stage)
        return run(asked, ORDERS[order], machine, told, stop, frame, run_id)


def job_for(inputs: Sequence[str], output: str | Path, **options: Unpack[Options]) -> Job:
    """A job whose answers are kept beside its output, unless it is told where. Raises BadConfiguration where it has to be told."""
    if isinstance(output, Path) and is_uri(str(output).replace(":/", "://", 1)):
        raise BadConfiguration(f"{output}: a place in an object store is named by a text, with two slashes")
    if "store" not in options:
        options["store"] = store_beside(output)
    if "tasks" in options:
        options["tasks"] = _known_tasks(options["tasks"])
    if (most := options.get("max_reviews", MAX_REVIEWS)) is not None and most < 1:
        raise BadConfiguration(f"max_reviews={most}: has to be 1 at least; None is for all")
    return Job(inputs, output if is_uri(output) else Path(output), **options)


def _known_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """In their own order: another one would be another run."""
    if not names or set(names) - set(TASKS):
        raise BadConfiguration(f"tasks={tuple(names)!r}: has to be some of {', '.join(TASKS)}")
    return tuple(name for name in TASKS if name in names)


def store_beside(output: str | Path) -> Path:
    """One store serves all days of an output (`dt=DAY`), and a link to it. Raises BadConfiguration for an object store: files there cannot
    be added to."""
    if is_uri(output):
        raise BadConfiguration(
            f"{without_secrets(str(output))}: the store of answers cannot be kept there; name a local folder for it, or none"
        )
    whole = Path(output).resolve()
    base = whole.parent if whole.name.startswith("dt=") else whole
    return base.with_name(f"{base.name}.store")
