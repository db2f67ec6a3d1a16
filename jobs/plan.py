"""`plan`: what `analyze` would do with the same options, without a model, a GPU or a trace."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from jobs.analyze import asked_for
from jobs.cluster_options import NAMES as CLUSTER
from jobs.options_of_analyze import options_of_analyze
from jobs.plan_page import page
from jobs.stop import StopSignals
from jobs.watch_options import progress_for
from pipeline.api import job_for
from pipeline.machine import Unloaded, local_machine
from pipeline.order import ORDERS
from pipeline.planning import EXACT_REVIEWS
from pipeline.planning import plan as make_plan
from pipeline.scaled_plan import Fleet
from pipeline.simulation.overheads import NETWORK_BYTES
from pipeline.without_weights import tokenizer_of

ONLY_OF_A_RUN = ("max_failed", "no_report", "skip_exit_code", "quiet", "verbose", "metrics", "shard", *CLUSTER)
MACHINE = ("model", "device", "feed", "engine_options", "model_cache")


@click.command(params=options_of_analyze(ONLY_OF_A_RUN))
@click.option(
    "--exact-reviews",
    type=click.IntRange(min=0),
    default=EXACT_REVIEWS,
    metavar="N",
    help="Count every prompt where no more reviews are to be asked about; beyond, estimate tokens from bytes and check on a sample.",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Tell what 1, 2, 4, ... and N workers would take.")
@click.option(
    "--bandwidth",
    type=click.FloatRange(min=0, min_open=True),
    default=NETWORK_BYTES / 1e6,
    metavar="MB",
    show_default=True,
    help="With --workers: megabytes a second in which one machine reads the dump.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def plan(exact_reviews: int, workers: int | None, bandwidth: float, as_json: bool, **options: Any) -> None:
    """Tell what `analyze` would do with these options: restaurants, requests and tokens, what is stored already, time and memory.

    Loads no model and needs no GPU, writes nothing and takes no lock: beside a running job it tells what is left at that moment. Takes the
    options of analyze and its environment, and in a TOML file its table for what [plan] does not say.

    \b
    Examples:
      python -m jobs plan reviews.parquet --output results
      python -m jobs plan 'dumps/*.parquet' --order fifo --json
      python -m jobs plan 'dumps/*.parquet' --workers 16
    """
    StopSignals()  # a stop leaves no temporary folder
    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")  # that there is no torch is meant
    progress = progress_for(quiet=False)
    alone: dict[str, Any] = dict.fromkeys(CLUSTER)
    asked = asked_for(shard=None, verbose=False, **alone, **options)
    order = ORDERS[asked.pop("order")]
    del asked["cluster"], asked["verbose"]
    endpoint, machine = asked.pop("endpoint"), {name: asked.pop(name) for name in MACHINE}
    job = job_for(asked.pop("reviews"), asked.pop("output"), **asked)
    fleet = Fleet(workers, 1e6 * bandwidth) if workers else None
    if endpoint is None:
        local = local_machine(**machine, tell=progress.stage)
        with tokenizer_of(local.name, local.cache.expanduser()) as model:
            planned = make_plan(job, order, Unloaded.of(local, model), progress.warn, exact_reviews, fleet)
    else:  # it is asked what it serves, and nothing else
        from pipeline.remote.machine import RemoteMachine

        with RemoteMachine(endpoint, machine["model"], machine["model_cache"], progress.stage) as elsewhere:
            planned = make_plan(job, order, elsewhere, progress.warn, exact_reviews, fleet)
    click.echo(json.dumps(planned.plain(), indent=2) if as_json else page(planned))
