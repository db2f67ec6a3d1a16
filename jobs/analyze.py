"""`analyze`: a dump in, per-restaurant results out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from jobs.cluster_options import cluster_of, cluster_options
from jobs.cost_lines import level_lines
from jobs.machine_options import machine_options
from jobs.observed import Run
from jobs.options import parse_columns, parse_inputs, parse_levels, parse_moment, parse_shard, parse_tasks
from jobs.priority_options import make_priorities, priority_options
from jobs.remote_options import endpoint_of, remote_options
from jobs.report import at_the_end
from jobs.run_options import costs, exit_code, missing_line, partition, results_line, run_options, statuses, store_folder, table
from jobs.stop import StopSignals
from jobs.watch_options import observed, progress_for, watch_options
from pipeline.analysis import Committed
from pipeline.api import analyze as run_analysis
from pipeline.errors import JobError
from pipeline.job import CHUNK_TOKENS, LEAST_CHUNK_TOKENS
from pipeline.limits import Limits
from pipeline.order import choose
from pipeline.places import Folder
from pipeline.reviews import Selection
from pipeline.sampling import MAX_REVIEWS
from pipeline.service_levels import ServiceLevel
from pipeline.shard import Shard
from pipeline.tasks.known import TASKS

MOST_NAMED = 10
"""Restaurants that missed their deadline, in the closing table; the manifest has all."""


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...", callback=parse_inputs)
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--tasks", default=",".join(TASKS), callback=parse_tasks, help="Comma-separated.")
@click.option(
    "--strengths",
    "stages",
    type=click.Choice(["two-stage", "single"]),
    default="two-stage",
    help="two-stage: compared with up to 20 peers; single: each restaurant alone.",
)
@click.option(
    "--queries",
    multiple=True,
    callback=parse_inputs,
    metavar="FILE",
    help="Also expand these search queries (see expand-queries). Repeatable.",
)
@click.option("--restaurant", multiple=True, metavar="ID", help="Only this restaurant. Repeatable.")
@click.option("--since", callback=parse_moment, metavar="TIME", help="Only reviews from then on (ISO; UTC unless it names a zone).")
@click.option("--until", callback=parse_moment, metavar="TIME", help="Only reviews before then.")
@click.option("--recalibrate", is_flag=True, help="Fit the boundary of sentiment anew; else it stays as first fitted for a model.")
@click.option(
    "--calibrate-on",
    type=click.Choice(["anchors", "ratings"]),
    default="anchors",
    help="Fit the boundary of sentiment on written anchor reviews, or on a sample of the dump's rated ones.",
)
@click.option("--chunk-tokens", type=click.IntRange(min=LEAST_CHUNK_TOKENS), default=CHUNK_TOKENS, help="Tokens of reviews in one prompt.")
@click.option(
    "--max-reviews",
    type=click.IntRange(min=0),
    default=MAX_REVIEWS,
    metavar="N",
    help="Reviews of one restaurant that its summary and strengths are made from; of a larger one a sample. 0 for all.",
)
@click.option(
    "--slo",
    multiple=True,
    callback=parse_levels,
    metavar="LEVEL",
    help="Say how many came in time: ttft=2s (first token of a request), ttft.sentiment=2s, restaurant=10m. Repeatable.",
)
@click.option("--no-report", is_flag=True, help="Write no report.html beside the results.")
@click.option(
    "--shard",
    callback=parse_shard,
    metavar="K/N",
    help="Do one of N shares of the work, of about equal cost, into OUTPUT/shards; `merge` puts them together. Again when others have "
    "ended: also the comparisons that need restaurants of theirs.",
)
@priority_options
@cluster_options
@run_options("restaurants", output="results")
@watch_options
@remote_options
@machine_options
def analyze(
    max_failed: tuple[float, bool], skip_exit_code: int, quiet: bool, no_report: bool, metrics: Path | None, **options: Any
) -> None:
    """Analyse the reviews in INPUT (Parquet files, globs, folders, object-store URIs).

    Restaurants that have not changed since the committed run are carried over, and answers in the store are not asked again: after a
    run that was stopped or killed, the same command goes on.

    \b
    Examples:
      python -m jobs analyze reviews.parquet --output results
      python -m jobs analyze 'dumps/*.parquet' --column text=Review --limit 5 --output trial
    """
    stop = StopSignals()
    progress = progress_for(quiet)
    asked, run = asked_for(**options), Run("analyze", options["inputs"], options["output"], options["date"])
    with observed(run, metrics, progress) as watched:
        try:
            done = watched.done = run_analysis(**asked, progress=progress, stop=stop, run_id=run.run_id)
            page = None if no_report or done.nothing_new or asked["shard"] else at_the_end(done, progress)
        except JobError:
            stop()  # an engine that dies after a stop signal is part of the stop
            raise
        finally:
            progress.close()
        if not quiet:
            if not done.nothing_new:
                click.echo(closing_table(done, page))
            click.echo(str(done.manifest_path))
        if missing := missing_line(done, max_failed, "restaurants"):
            progress.warn(missing)
        sys.exit(exit_code(done, max_failed) or (skip_exit_code if done.nothing_new else 0))


def asked_for(
    inputs: Sequence[str],
    output: Path | str,
    date: str | None,
    column: Mapping[str, str],
    stages: str,
    restaurant: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    store: Path | None,
    no_store: bool,
    force: bool,
    stop_at: datetime | None,
    max_prompt_tokens: int | None,
    order: str | None,
    use_priority_queue: bool,
    priority_by_prefill_cost: bool,
    max_reviews: int,
    slo: Sequence[ServiceLevel],
    deadline: Mapping[str, datetime],
    urgent: Sequence[str],
    max_overtake: int | None,
    max_wait: timedelta | None,
    engine: str,
    engine_url: str | None,
    engine_revision: str | None,
    in_flight: int | None,
    engine_option: Mapping[str, Any],
    shard: Shard | None,
    recalibrate: bool,
    on: str | None,
    ray_address: str | None,
    workers: int | None,
    gpus_per_worker: float | None,
    cpus_per_worker: int | None,
    verbose: bool,
    **others: Any,
) -> dict[str, Any]:
    """What `pipeline.analyze` is asked for by this command's options; those that are called the same there are the `others`."""
    if shard and recalibrate:
        raise click.UsageError("--recalibrate fits one boundary, and shards would fit one each; recalibrate with a run without --shard")
    return {
        **others,
        "reviews": inputs,
        "output": partition(output, date),
        "columns": column,
        "selection": Selection(tuple(restaurant), since, until, limit),
        "two_stage": stages == "two-stage",
        "max_reviews": max_reviews or None,
        "store": store_folder(output, store, no_store, force),
        "force": force,
        "limits": Limits(stop_at, max_prompt_tokens),
        "service_levels": slo,
        "priorities": make_priorities(deadline, urgent, max_overtake, max_wait),
        "order": choose(order, use_priority_queue, priority_by_prefill_cost).name,
        "engine_options": engine_option,
        "shard": shard,
        "recalibrate": recalibrate,
        "verbose": verbose,
        "cluster": cluster_of(on, ray_address, workers, gpus_per_worker, cpus_per_worker, verbose),
        "endpoint": endpoint_of(engine, engine_url, engine_revision, in_flight, engine_option=engine_option, **others),
    }


def closing_table(done: Committed, page: Folder | None = None) -> str:
    """What happened, a line each. `page`: the report, where one was written."""
    counts = done.manifest["counts"]
    return table(
        {
            "restaurants": statuses(done, "restaurants"),
            "reviews": f"{counts['reviews']:,} analysed, {counts['rejects']:,} rejected",
            "sentiment": ", ".join(f"{number:,} {name}" for name, number in counts["sentiments"].items()),
            **_queries(counts),
            **_agreement(done.manifest["rating_agreement"]),
            **_deadlines(done.manifest["deadlines"]),
            **_shards(done.manifest),
            **costs(done),
            **level_lines(done.manifest["service_levels"]),
            **({"report": str(page)} if page else {}),
            **results_line(done),
        }
    )


def _queries(counts: Mapping[str, Any]) -> dict[str, str]:
    if "queries" not in counts:
        return {}
    ended = ", ".join(f"{number:,} {status}" for status, number in sorted(counts["queries"].items())) or "none"
    return {"queries": f"{ended}; {counts['expansions']:,} expansions, {counts['query_rejects']:,} rejected"}


def _deadlines(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {}
    named = ", ".join(found["missed_by"][:MOST_NAMED]) + (", ..." if found["missed"] > MOST_NAMED else "")
    return {"deadlines": f"{found['met']:,} met, {found['missed']:,} missed" + (f" ({named})" if named else "")}


def _shards(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Of a shard, or of the run that has merged them."""
    if one := manifest.get("shard"):
        return {"shard": f"{one['index']} of {one['count']}, {manifest['counts']['selected']:,} restaurants"}
    if merged := manifest.get("shards"):
        seconds = ", ".join(f"{name} {value:,.1f}" for name, value in manifest["seconds"].items())
        return {"shards": f"{merged['count']} merged; seconds of all machines: {seconds}"}
    return {}


def _agreement(found: Mapping[str, Any] | None) -> dict[str, str]:
    if found is None:
        return {}
    balanced = "" if found["balanced"] is None else f", {found['balanced']:.0%} with both sides weighed alike"
    low = f"; low in {found['low_restaurants']:,} of {found['restaurants']:,} restaurants" if found["restaurants"] else ""
    return {"agreement": f"{found['agreement']:.0%} of {found['reviews']:,} rated reviews{balanced}{low}"}
