"""One run from search queries to commit: as `analysis.py`, the stations of the flow one after another."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import partial

from pipeline import previous, results
from pipeline.accounts import Accounts
from pipeline.analysis import Committed, described_run, measured, opened_store
from pipeline.answering import all_outcomes
from pipeline.asked_queries import TASK, fingerprints, in_turn, priced, settings, single, tokenised
from pipeline.calibrations import fits_for
from pipeline.expanded import Expanded, expanded
from pipeline.job import Job, Progress, Stop
from pipeline.manifest import Tally
from pipeline.order import Order
from pipeline.places import place_of
from pipeline.queries import Queries, read_queries
from pipeline.run import Loop
from pipeline.runtime import Machine, Runtime
from pipeline.schedule import Schedule
from pipeline.spread import scratch_in
from pipeline.store import Store
from pipeline.tables import same_rows
from pipeline.tasks.query_expansion import QueryExpansionTask
from pipeline.uris import without_secrets
from pipeline.watched import watched


def expand(job: Job, order: Order, machine: Machine, progress: Progress, stop: Stop | None = None, run_id: str | None = None) -> Committed:
    """Reads the queries (`job.inputs`), asks the model what is not known yet, commits. Raises the errors of `pipeline.errors`; then nothing
    that readers see has changed, and the same command goes on where this one ended. `stop` is called between two steps and may raise.
    `run_id`: as of `analysis.analyze`."""
    seconds: dict[str, float] = {}
    place = place_of(job.output)
    stop = (stop or Stop()).also(place.check)
    with place.locked() as work, scratch_in(work) as scratch:
        run_id = results.run_id_for(run_id, place.has_run)
        before = previous.find(Expanded, place, job.selection, job.update, progress.warn, scratch)
        with measured(seconds, "read"):
            progress.stage("reading " + ", ".join(map(without_secrets, job.inputs)))
            queries = read_queries(job.inputs, job.columns, job.selection.limit, job.max_input_bytes)
        progress.passed("read", {**queries.figures, "seconds": seconds["read"]})
        with measured(seconds, "load"):
            runtime = Runtime(machine, lambda took: progress.passed("loaded", {"seconds": took}))
        with measured(seconds, "generate"), opened_store(job, work, runtime, progress) as store:
            fits = fits_for(queries.languages, runtime, store, progress, stop, job.recalibrate)
            readable = {language for language, one in fits.items() if one.readable}
            marks = fingerprints(queries, {language: settings(runtime, language in readable) for language in fits})
            unchanged = before.unchanged(marks) if before and not job.force and job.store else set()
            accounts = Accounts(runtime, store.folder, progress.warn)
            schedule = Schedule(order, job.priorities, runtime.predictor(accounts.before))
            tables, idle_s = answer_queries(queries.without(unchanged), job, schedule, readable, marks, runtime, store, progress, stop)
            store.flush()
            answers = store.counts
            costs = accounts.settle(tables.requests, idle_s)
        seconds["load"] += runtime.loaded_s
        seconds["generate"] -= runtime.loaded_s
        tables = replace(tables, rejects=queries.rejects)
        if before:
            kept = before.read()
            tables = tables.carry_over(kept, unchanged)
            tables = tables.keep_others(kept) if job.update and before.here else tables
            if unchanged == set(marks) and before.chosen_by(None if job.update else job.selection) and same_rows(kept, tables):
                loaded = "" if runtime.engine.loaded_s else "; no model was loaded"
                progress.stage(f"nothing to do: none of {len(marks):,} queries has changed since the committed run{loaded}")
                return Committed(before.folder, before.manifest, seconds, nothing_new=True)
        stop()
        with measured(seconds, "write"):
            progress.stage("writing")
            described = described_run(job, order, runtime, fits, before) | {"store": answers, "costs": costs}
            tally = Tally(Expanded, marks.keys())
            tally.add(tables)
            told = partial(tally.manifest, run_id, queries.files, tables.requests, described, seconds)
            folder = results.write(work, run_id, [tables], told)
            committed = Committed(place.deliver(run_id, folder, stop), results.read_manifest(folder), seconds)
            with stop.held():
                place.publish(run_id)
                stop.over()
        return committed


def answer_queries(
    queries: Queries,
    job: Job,
    schedule: Schedule,
    readable: Collection[str],
    fingerprints: Mapping[str, str],
    runtime: Runtime,
    store: Store,
    progress: Progress,
    stop: Stop,
) -> tuple[Expanded, float]:
    """A row for each query, and the seconds in which the engine had nothing to do. Where there is no query, no tokenizer is loaded; where
    nothing has to be asked, no engine. Raises EngineDied."""
    if queries.rows.is_empty():
        return expanded((), queries.rejects, fingerprints), 0.0
    task = QueryExpansionTask(runtime.tokens, readable)
    rows = priced(queries, task)
    progress.planned(rows.height, int(rows["estimate"].sum()))
    if schedule.assumption:
        progress.stage(schedule.assumption)
    loop = Loop([task], schedule, runtime.engine, progress, store, job.limits)
    with watched(loop, runtime.engine, stop, store.suspect):
        opened = tokenised(in_turn(rows, schedule), runtime.tokens)
        outcomes = all_outcomes(loop, opened, map(single, rows.iter_rows(named=True)), [TASK], stop)
        return expanded(outcomes, queries.rejects, fingerprints), loop.idle_s
