"""Options about a Ray cluster whose machines do the work."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from pipeline.scale.cluster import Cluster

F = TypeVar("F", bound=Callable[..., Any])
NAMES = ("on", "ray_address", "workers", "gpus_per_worker", "cpus_per_worker")


def cluster_options(command: F) -> F:
    """Adds --on, --ray-address, --workers, --gpus-per-worker, --cpus-per-worker."""
    options = [
        click.option("--on", type=click.Choice(["ray"]), help="Work on many GPUs or machines: with the workers of a Ray cluster."),
        click.option(
            "--ray-address",
            metavar="ADDRESS",
            help="Of the cluster, or auto for the one that this machine is in. None: one of this machine alone, gone with the run.",
        ),
        click.option("--workers", type=click.IntRange(min=1), help="An engine each. As many as there is room for when not given."),
        click.option("--gpus-per-worker", type=click.FloatRange(min=0), help="1 where the cluster has GPUs when not given."),
        click.option("--cpus-per-worker", type=click.IntRange(min=1), help="1 beside a GPU, else the machine's by its workers."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def cluster_of(
    on: str | None,
    ray_address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    cpus_per_worker: int | None,
    verbose: bool,
) -> Cluster | None:
    """None where the run works alone. Raises UsageError for options of a cluster without one."""
    if on is None:
        if ray_address or workers or gpus_per_worker is not None or cpus_per_worker:
            raise click.UsageError("--ray-address, --workers, --gpus-per-worker and --cpus-per-worker are for runs with --on ray")
        return None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # the workers are what the machine is here for
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # a worker without a GPU sees what its machine has, as here
    return Cluster(ray_address, workers, gpus_per_worker, cpus_per_worker, verbose)
