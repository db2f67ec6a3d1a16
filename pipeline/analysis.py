"""One run from dump to commit: the stations of the flow, one after another."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import previous, results
from pipeline.accounts import Accounts
from pipeline.agreement import Agreement
from pipeline.answering import WORDINGS, Many, answer_all
from pipeline.assignment import assigned
from pipeline.beside import Beside
from pipeline.calibrations import fits_for
from pipeline.digest import digest
from pipeline.frames import in_a_file
from pipeline.job import Job, Progress, Stop
from pipeline.manifest import plain
from pipeline.merging import merging
from pipeline.order import Order
from pipeline.places import Folder, inside, place_of
from pipeline.publishing import Publication
from pipeline.queries import read_queries
from pipeline.reviews import read
from pipeline.runtime import Machine, Runtime
from pipeline.schedule import Schedule
from pipeline.service_levels import attained
from pipeline.spread import scratch_in
from pipeline.store import Store
from pipeline.summed import summed
from pipeline.tables import Results, scan
from pipeline.tasks.calibration import Fit
from pipeline.uris import without_secrets

SCRATCH_STORE = ".store-of-this-run"


@dataclass(frozen=True, slots=True)
class Committed:
    """What a run left behind, frames read when they are asked for. `nothing_new`: the results were up to date, and nothing was written."""

    folder: Folder
    manifest: Mapping[str, Any]
    seconds: Mapping[str, float]
    nothing_new: bool = False

    @property
    def manifest_path(self) -> Folder:
        """In the run's folder, which stays until the commit after the next one."""
        return inside(self.folder, results.MANIFEST)

    def scan(self, table: str) -> pl.LazyFrame:
        """`restaurants`, `reviews`, `rejects` or `requests`; of a run with queries also `queries` and `query_rejects`."""
        return scan(self.folder, table)

    @property
    def restaurants(self) -> pl.DataFrame:
        """One row per restaurant."""
        return self.scan("restaurants").collect()

    @property
    def reviews(self) -> pl.DataFrame:
        """One row per review that was analysed."""
        return self.scan("reviews").collect()

    @property
    def rejects(self) -> pl.DataFrame:
        """Rows of the dump that could not be used, each with its reason."""
        return self.scan("rejects").collect()

    @property
    def requests(self) -> pl.DataFrame:
        """One row per request of this run."""
        return self.scan("requests").collect()


def analyze(
    job: Job,
    order: Order,
    machine: Machine,
    progress: Progress,
    stop: Stop | None = None,
    frame: pl.LazyFrame | None = None,
    run_id: str | None = None,
) -> Committed:
    """Reads the dump, or a `frame` in place of the job's inputs, asks the model what is not known yet, commits. Raises the errors of
    `pipeline.errors`; then nothing that readers see has changed, and the same command goes on where this one ended. `stop` is called
    between two steps and may raise to end the run. `run_id`: of `results.new_run_id`, where somebody has to know it beforehand."""
    seconds: dict[str, float] = {}
    place = place_of(job.place)
    stop = (stop or Stop()).also(place.check)
    with place.locked() as work, scratch_in(work) as scratch, ExitStack() as held:
        run_id = results.run_id_for(run_id, place.has_run)
        before = previous.find(Results, place_of(job.output), job.selection, job.update, progress.warn, scratch)
        merge = held.enter_context(merging(job, before))
        with measured(seconds, "read"):
            progress.stage("reading " + (", ".join(map(without_secrets, job.inputs)) or "a frame"))
            inputs = job.inputs if frame is None else [in_a_file(frame, scratch)]
            dump = read(inputs, job.columns, job.selection, job.max_input_bytes, scratch)
            files = () if job.shard else job.queries  # queries are left to the merge
            queries = read_queries(files, max_input_bytes=job.max_input_bytes) if files else None
        progress.passed("read", {**dump.figures, "seconds": seconds["read"]})
        with measured(seconds, "load"):
            runtime = Runtime(machine, lambda took: progress.passed("loaded", {"seconds": took}))
        with measured(seconds, "generate"), opened_store(job, work, runtime, progress) as store:
            own = assigned(dump, job, runtime, store, before, merge, progress, stop)
            if isinstance(own, previous.Previous):
                return Committed(own.folder, own.manifest, seconds, nothing_new=True)
            changed, fits, taken = own.changed, own.fits, own.taken
            beside = None
            if queries:
                others = queries.languages - fits.keys()
                beside = Beside(queries, {**fits, **fits_for(others, runtime, store, progress, stop)}, runtime, before, job)
            accounts = Accounts(runtime, store.folder, progress.warn)
            schedule = Schedule(order, job.priorities, runtime.predictor(accounts.before))
            marks = changed.fingerprints
            if unknown := job.priorities.unknown(own.selected):
                progress.warn(unknown)
            answer = machine.answer_all if isinstance(machine, Many) else answer_all
            answered = answer(changed.dump, job, schedule, fits, marks, changed.compared, runtime, store, progress, stop, beside)
            store.flush()
            answers = summed([store.counts, answered.store or {}])
            found = Publication(own.dump, changed, answered, own.before, beside, job, taken)
            costs = accounts.settle(found.requests, answered.idle_s)
            levels = attained(job.service_levels, found.own)
        seconds["load"] += runtime.loaded_s
        seconds["generate"] -= runtime.loaded_s
        seconds["idle"] = round(answered.idle_s, 3)
        if own.before and found.nothing_new:
            loaded = "" if runtime.engine.loaded_s else "; no model was loaded"
            progress.stage(f"nothing to do: none of {len(marks):,} restaurants has changed since the committed run{loaded}")
            return Committed(own.before.folder, own.before.manifest, seconds, nothing_new=True)
        stop()
        with measured(seconds, "write"):
            progress.stage("writing")
            spent: Mapping[str, float] = seconds
            if taken:
                costs, answers = taken.costs(costs, found.all_requests), taken.added("store", answers)
                spent = taken.added("seconds", seconds)

            def described(agreed: Agreement | None, deadlines: Mapping[str, Any] | None) -> dict[str, Any]:
                if agreed and agreed.warning:
                    progress.warn(agreed.warning)
                return {
                    **described_run(job, order, runtime, fits, before),
                    **own.told,
                    **({"workers": answered.workers} if answered.workers else {}),
                    "first_request": found.first_request.isoformat(timespec="milliseconds"),
                    "urgent": sorted(job.priorities.urgent),
                    "max_overtake": schedule.max_overtake,  # in tokens, also where a time was given
                    "deadlines": deadlines,
                    "store": answers,
                    "rating_agreement": asdict(agreed) if agreed else None,
                    "costs": costs,
                    "service_levels": levels,
                }

            folder = found.write(work, run_id, described, spent, stop)
            committed = Committed(place.deliver(run_id, folder, stop), results.read_manifest(folder), seconds)
            with stop.held():
                place.publish(run_id)
                stop.over()
        return committed


def described_run(
    job: Job, order: Order, runtime: Runtime, fits: Mapping[str, Fit], before: previous.Previous[Any] | None
) -> dict[str, Any]:
    """What the manifest says of the run: its selection, its settings, its model."""
    chosen = plain(asdict(job.selection))
    kept = before.manifest.get("selection") if before and before.here and job.update else chosen
    return {
        "selection": kept,
        "updated": chosen if job.update else None,
        "columns": dict(job.columns),
        "tasks": list(job.tasks),
        "order": order.name,
        "model": runtime.model.name,
        "revision": runtime.model.revision,
        "identity": runtime.identity,
        "settings": {
            **runtime.machine.settings,
            "kv_blocks": runtime.engine.kv_blocks,
            "window": runtime.engine.window,
            "chunk_tokens": job.chunk_tokens,
            "max_reviews": job.max_reviews,
            "two_stage": job.two_stage,
        },
        "wording": {name: digest(WORDINGS[name]) for name in job.tasks},
        "calibration": {name: asdict(one) for name, one in fits.items()},
    }


@contextmanager
def opened_store(job: Job, work: Path, runtime: Runtime, progress: Progress) -> Iterator[Store]:
    """The store of the job; without one a folder at `work` that lasts as long as the run, so that equal questions are still asked once."""
    scratch = work / SCRATCH_STORE
    shutil.rmtree(scratch, ignore_errors=True)  # of a run that died
    if job.store is not None:
        with Store(job.store, runtime.identity, progress.warn, fresh=job.force) as store:
            yield store
        return
    try:
        with Store(scratch, runtime.identity, progress.warn) as store:
            yield store
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def measured(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Writes down how long what is inside takes."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds[stage] = round(time.monotonic() - began, 3)
