"""A plan's work on N workers, on paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from pipeline import shares
from pipeline.answering import grouped, tasks_for
from pipeline.changes import Changes
from pipeline.costs import OUTPUT_TOKENS, CostModel
from pipeline.dealing import LEAST_S
from pipeline.dump import Dump
from pipeline.foreseen import Foreseen
from pipeline.job import Job
from pipeline.runtime import Runtime
from pipeline.simulation.overheads import GPU_START_S, MEASURED, NETWORK_BYTES, START_S, Overheads, Size
from pipeline.simulation.passes import Worker
from pipeline.simulation.sampled_pieces import Line, Sampled
from pipeline.simulation.scaled import Scaled, scaled, worker_counts
from pipeline.simulation.workers import Simulated, Work
from pipeline.simulation.workload import Workload
from pipeline.tasks.calibration import Fit

EXACT_REQUESTS = 400_000
"""Up to so many are simulated, those of every number of workers counted: some 15 s of one core."""


@dataclass(frozen=True, slots=True)
class Fleet:
    """What a plan is asked about: up to so many `workers`. `bandwidth`: of each one's network, bytes a second. `rates` and `load_s`: None
    for what is known of this machine. `least_s`: predicted seconds of a piece. `shards`: as `scaled.scaled` takes it."""

    workers: int
    bandwidth: float = NETWORK_BYTES
    rates: CostModel | None = None
    load_s: float | None = None
    least_s: float = LEAST_S
    shards: bool = False


@dataclass(frozen=True, slots=True)
class OnWorkers:
    """`method`: every piece simulated, or a line through sampled pieces, `off` by so much (mean, largest) on those it was not fitted on.
    `measured`: steps that the rates were fitted on, 0 for those that are assumed."""

    found: Sequence[Scaled]
    method: Literal["simulated", "sampled"]
    off: tuple[float, float]
    measured: int
    overheads: Overheads

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        about = {"method": self.method, "off": {"mean": self.off[0], "largest": self.off[1]}, "measured": self.measured}
        return {**about, "scaled": [one.plain() for one in self.found]}


def on_workers(
    fleet: Fleet, foreseen: Foreseen, changed: Changes, dump: Dump, job: Job, runtime: Runtime, fits: Mapping[str, Fit], worker: Worker
) -> OnWorkers:
    """What 1, 2, 4, ... and `fleet.workers` would take for what is `foreseen` of the restaurants that have `changed`. `dump`: all that is
    read for that."""
    rates = replace(worker.rates, output_tokens={**OUTPUT_TOKENS, **worker.rates.output_tokens})
    block_size, device = worker.shape.block_size, str(runtime.machine.settings.get("device"))
    workload = foreseen.workload(changed.compared.peers, block_size, rates)
    anchors = foreseen.anchors(block_size, rates)
    counts = worker_counts(fleet.workers)
    weights = planned_costs(changed.dump, job, runtime, fits, None if fleet.shards else rates)
    work, method, off = work_of(workload, weights, worker, round(1000 * fleet.least_s), EXACT_REQUESTS // len(counts))
    overheads = replace(
        MEASURED,
        load_s=START_S.get(device, GPU_START_S) if fleet.load_s is None else fleet.load_s,
        bandwidth=fleet.bandwidth,
        calibrate_s=worker.seconds(anchors, [0]),
    )
    size = Size(dump.height, len(changed.fingerprints), changed.dump.height, sum(one.size or 0 for one in dump.files))
    return OnWorkers(scaled(work, counts, size, overheads, fleet.shards), method, off, rates.steps, overheads)


def planned_costs(dump: Dump, job: Job, runtime: Runtime, fits: Mapping[str, Fit], rates: CostModel | None) -> dict[str, int]:
    """Milliseconds by restaurant that an engine of these rates is expected to take, 1 at the least, by which a driver deals; None: those by
    which shards are dealt, whatever was measured."""
    groups, budget = grouped(dump, runtime, tasks_for(job.tasks, runtime.tokens, fits), job)
    if rates is None:
        return shares.costs(dump, groups.table["restaurant_id"].to_list(), job, runtime, fits)
    expected = partial(runtime.predictor(rates).expected, tasks=job.tasks, chunk_tokens=budget)
    return {one.restaurant_id: max(round(1000 * one.seconds), 1) for one in groups.standings(expected)}


def work_of(
    workload: Workload, weights: Mapping[str, int], worker: Worker, least: int = 0, exact_requests: int = EXACT_REQUESTS
) -> tuple[Work, Literal["simulated", "sampled"], tuple[float, float]]:
    """Simulated where it is all there and has no more requests than that, else by lines. `workload`: of the restaurants that have
    `weights` (of `planned_costs`), or of a sample of them; beside them it may hold restaurants of which only a comparison is asked."""
    names = [one.restaurant_id for one in workload.restaurants]
    bundles = [workload.bundle(place) for place in range(len(names))]
    requests = sum(len(stage.asks) for one in bundles for stage in one.stages)
    if requests <= exact_requests and weights.keys() <= set(names):
        return Simulated(workload, weights, worker, least), "simulated", (0.0, 0.0)
    of_sample = [float(weights.get(name, 0)) for name in names]
    line, comparison = (Line.through(workload, of_sample, worker, second) for second in (False, True))
    compared = sum(any(stage.compares for stage in one.stages) for one in bundles)
    looked_at = sum(name in weights for name in names)
    every = round(compared * len(weights) / looked_at) if looked_at else compared
    dearest = -np.sort(-np.array(list(weights.values()), dtype=np.float64))
    return Sampled(dearest, line, comparison, every, least), "sampled", line.off
