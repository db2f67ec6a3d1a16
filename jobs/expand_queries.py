"""`expand-queries`: search queries in, other words for each out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from jobs.machine_options import machine_options, make_any_machine
from jobs.observed import Run
from jobs.options import columns_of, parse_inputs
from jobs.remote_options import remote_options
from jobs.run_options import costs, exit_code, missing_line, partition, results_line, run_options, statuses, store_folder, table
from jobs.stop import StopSignals
from jobs.watch_options import observed, progress_for, watch_options
from pipeline.analysis import Committed
from pipeline.asked_queries import TASK
from pipeline.errors import JobError
from pipeline.expansion import expand
from pipeline.job import Job
from pipeline.limits import Limits
from pipeline.order import choose
from pipeline.queries import QUERIES
from pipeline.reviews import Selection


@click.command(name="expand-queries")
@click.argument("queries", nargs=-1, required=True, metavar="QUERIES...", callback=parse_inputs)
@click.option("--column", multiple=True, callback=columns_of(QUERIES), metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@run_options("queries", output="expanded")
@watch_options
@remote_options
@machine_options
def expand_queries(
    queries: Sequence[str],
    output: Path | str,
    date: str | None,
    column: Mapping[str, str],
    limit: int | None,
    max_input_bytes: int,
    update: bool,
    store: Path | None,
    no_store: bool,
    force: bool,
    stop_at: datetime | None,
    max_prompt_tokens: int | None,
    order: str | None,
    use_priority_queue: bool,
    priority_by_prefill_cost: bool,
    max_failed: tuple[float, bool],
    skip_exit_code: int,
    metrics: Path | None,
    quiet: bool,
    **machine: Any,
) -> None:
    """Find other words for the search queries in QUERIES (Parquet files, globs, folders, object-store URIs).

    Columns query_id, text and, where it is known, language (en or ko; else by script). Queries that have not changed since the committed
    run are carried over, and answers in the store are not asked again.

    \b
    Examples:
      python -m jobs expand-queries queries.parquet --output expanded
      python -m jobs expand-queries tonight.parquet --column text=Query --update --output expanded
    """
    stop = StopSignals()
    progress = progress_for(quiet, doing="expanding", what="queries")
    job = Job(
        inputs=queries,
        output=partition(output, date),
        columns=column,
        selection=Selection(limit=limit),
        tasks=(TASK,),
        update=update,
        store=store_folder(output, store, no_store, force),
        force=force,
        max_input_bytes=max_input_bytes,
        limits=Limits(stop_at, max_prompt_tokens),
    )
    rule, run = choose(order, use_priority_queue, priority_by_prefill_cost), Run("expand-queries", queries, output, date)
    with observed(run, metrics, progress) as watched:
        try:
            done = watched.done = expand(job, rule, make_any_machine(**machine, tell=progress.stage), progress, stop, run.run_id)
        except JobError:
            stop()  # an engine that dies after a stop signal is part of the stop
            raise
        finally:
            progress.close()
        if not quiet:
            if not done.nothing_new:
                click.echo(closing_table(done))
            click.echo(str(done.manifest_path))
        if missing := missing_line(done, max_failed, "queries"):
            progress.warn(missing)
        sys.exit(exit_code(done, max_failed) or (skip_exit_code if done.nothing_new else 0))


def closing_table(done: Committed) -> str:
    """What happened, a line each."""
    counts = done.manifest["counts"]
    return table(
        {
            "queries": f"{statuses(done, 'queries')}; {counts['rejects']:,} rejected",
            "expansions": f"{counts['expansions']:,} kept, {counts['dropped']:,} dropped",
            **costs(done),
            **results_line(done),
        }
    )
