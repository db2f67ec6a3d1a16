"""One run from search queries to commit: as `analysis.py`, the stations of the flow one after another."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from importlib.metadata import version

import polars as pl

from pipeline import previous, results
from pipeline.analysis import Committed, described_run, measured, opened_store
from pipeline.answering import WORDINGS, all_outcomes, watched
from pipeline.calibrations import fits_for
from pipeline.expanded import EXPANDED, Expanded, expanded
from pipeline.job import Job, Progress, Stop
from pipeline.manifest import describe_expansions, digest
from pipeline.order import Order
from pipeline.queries import Queries, read_queries
from pipeline.records import Restaurant, Review
from pipeline.restaurants import Tokenised
from pipeline.run import Loop
from pipeline.runtime import Machine, Runtime
from pipeline.store import Store
from pipeline.tasks.query_expansion import QueryExpansionTask
from pipeline.tokens import Tokens

TASK = "query_expansion"
BYTES_PER_TOKEN = 3
"""Of a query, about; the prompt around it is counted exactly."""
BATCH = 256
"""Queries tokenised at once."""


def expand(job: Job, order: Order, machine: Machine, progress: Progress, stop: Stop | None = None) -> Committed:
    """Reads the queries (`job.inputs`), asks the model what is not known yet, commits. Raises the errors of `pipeline.errors`; then nothing
    that readers see has changed, and the same command goes on where this one ended. `stop` is called between two steps and may raise."""
    stop = stop or Stop()
    seconds: dict[str, float] = {}
    with results.lock(job.output):
        before = previous.find(Expanded, job.output, job.selection, job.update, progress.stage)
        with measured(seconds, "read"):
            progress.stage("reading " + ", ".join(job.inputs))
            queries = read_queries(job.inputs, job.columns, job.selection.limit, job.max_input_bytes)
        with measured(seconds, "load"):
            runtime = Runtime(machine)
        with measured(seconds, "generate"), opened_store(job, runtime, progress) as store:
            fits = fits_for(queries.rows, runtime, store, progress, stop, job.recalibrate)
            readable = {language for language, one in fits.items() if one.readable}
            marks = fingerprints(queries, {language: settings(runtime, language in readable) for language in fits})
            unchanged = before.unchanged(marks) if before and not job.force and job.store else set()
            tables = answer_queries(queries.without(unchanged), job, order, readable, marks, runtime, store, progress, stop)
            store.flush()
            answers = store.counts
        seconds["load"] += runtime.engine.loaded_s
        seconds["generate"] -= runtime.engine.loaded_s
        tables = replace(tables, rejects=queries.rejects)
        if before:
            tables = tables.carry_over(before.results, unchanged)
            tables = tables.keep_others(before.results) if job.update and before.here else tables
            if unchanged == set(marks) and before.holds(tables, None if job.update else job.selection):
                loaded = "" if runtime.engine.loaded_s else "; no model was loaded"
                progress.stage(f"nothing to do: none of {len(marks):,} queries has changed since the committed run{loaded}")
                return Committed(before.folder / results.MANIFEST, before.manifest, seconds, nothing_new=True)
        stop()
        with measured(seconds, "write"):
            progress.stage("writing")
            run_id = results.new_run_id()
            described = described_run(job, order, runtime, fits, before) | {"store": answers}
            manifest = describe_expansions(run_id, queries.files, tables, set(marks), described, seconds)
            results.write(job.output, run_id, tables, manifest)
            with stop.held():
                path = results.publish(job.output, run_id)
        return Committed(path, json.loads(path.read_text()), seconds)


def settings(runtime: Runtime, readable: bool) -> str:
    """Digest of what a row depends on beside its query: the boundary of sentiment is nothing to it, only whether the language is read."""
    form = {name: str(dtype) for name, dtype in EXPANDED.items()}
    return digest([version("review-digest"), form, runtime.identity, WORDINGS[TASK], readable])


def fingerprints(queries: Queries, settings: Mapping[str, str]) -> dict[str, str]:
    """A digest of 128 bits by query: its text, its language, the settings for that."""
    return {
        name: hashlib.blake2b("\0".join((settings[language], language, text)).encode(), digest_size=16).hexdigest()
        for name, text, language in queries.rows.select("query_id", "text", "language").iter_rows()
    }


def answer_queries(
    queries: Queries,
    job: Job,
    order: Order,
    readable: Collection[str],
    fingerprints: Mapping[str, str],
    runtime: Runtime,
    store: Store,
    progress: Progress,
    stop: Stop,
) -> Expanded:
    """A row for each query. Where there is none, no tokenizer is loaded; where nothing has to be asked, no engine. Raises EngineDied."""
    if queries.rows.is_empty():
        return expanded((), queries.rejects, fingerprints)
    task = QueryExpansionTask(runtime.tokens, readable)
    rows = queries.rows.with_columns(estimate=task.overhead + pl.col("text").str.len_bytes() // BYTES_PER_TOKEN)
    progress.planned(rows.height, int(rows["estimate"].sum()))
    loop = Loop([task], order, runtime.engine, progress, store, job.limits)
    by = ["query_id" if name == "restaurant_id" else name for name in order.admission]
    with watched(loop, runtime, store, stop):
        outcomes = all_outcomes(loop, tokenised(rows.sort(by), runtime.tokens), map(single, rows.iter_rows(named=True)), [TASK], stop)
        return expanded(outcomes, queries.rejects, fingerprints)


def single(row: Mapping[str, str | int]) -> Restaurant:
    """To the loop a query is a restaurant of one review: a name, a text, a language, what it will cost."""
    review = Review("", str(row["text"]), str(row["language"]))
    return Restaurant(str(row["query_id"]), (review,), arrival=int(row["arrival"]), estimate=int(row["estimate"]))


def tokenised(rows: pl.DataFrame, tokens: Tokens) -> Iterator[Tokenised]:
    """Queries with their texts encoded as reviews are, in the order given, a batch at a time."""
    for some in rows.iter_slices(BATCH):
        for row, one in zip(some.iter_rows(named=True), tokens.encode(some["text"].to_list()), strict=True):
            yield Tokenised(single(row), (one.ids,), (range(1),), {}, budget=0)
