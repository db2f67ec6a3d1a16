"""`analyze`: a dump in, per-restaurant results out."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from jobs.machine import machine_options, make_machine
from jobs.options import parse_allowance, parse_columns, parse_day, parse_deadline, parse_moment, parse_output, parse_tasks
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.analysis import Committed
from pipeline.analysis import analyze as run_analysis
from pipeline.errors import JobError
from pipeline.job import CHUNK_TOKENS, LEAST_CHUNK_TOKENS, TASKS, Job
from pipeline.limits import Limits
from pipeline.order import ORDERS, choose
from pipeline.reading import MOST_INPUT_BYTES
from pipeline.reviews import Selection

PARTLY_FAILED = 3


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", callback=parse_output, default="results", metavar="FOLDER", help="Folder for the results.")
@click.option("--date", callback=parse_day, metavar="DAY", help="Write to OUTPUT/dt=DAY. Names the partition only.")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--tasks", default=",".join(TASKS), callback=parse_tasks, help="Comma-separated.")
@click.option(
    "--strengths",
    "stages",
    type=click.Choice(["two-stage", "single"]),
    default="two-stage",
    help="two-stage: compared with up to 20 peers; single: each restaurant alone.",
)
@click.option("--restaurant", multiple=True, metavar="ID", help="Only this restaurant. Repeatable.")
@click.option("--since", callback=parse_moment, metavar="TIME", help="Only reviews from then on (ISO; UTC unless it names a zone).")
@click.option("--until", callback=parse_moment, metavar="TIME", help="Only reviews before then.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N restaurants by id.")
@click.option(
    "--max-input-bytes",
    type=click.IntRange(min=1),
    default=MOST_INPUT_BYTES,
    metavar="N",
    help="Refuse a dump that holds more in the columns read, uncompressed, over all files.",
)
@click.option(
    "--update",
    is_flag=True,
    help="Keep the committed rows of restaurants that are not selected; selected ones are replaced.",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Answers already paid for.  [default: OUTPUT.store, beside the output]",
)
@click.option("--no-store", is_flag=True, help="Ask everything anew and keep no answers; a run that is stopped loses its work.")
@click.option("--force", is_flag=True, help="Ask everything of --tasks anew, although the store knows it; the new answers replace the old.")
@click.option("--recalibrate", is_flag=True, help="Fit the boundary of sentiment anew; else it stays as first fitted for a model.")
@click.option(
    "--stop-at", callback=parse_deadline, metavar="TIME", help="Feed nothing after 05:45 or 2026-11-21T05:45+09:00; commit what is done."
)
@click.option("--max-prompt-tokens", type=click.IntRange(min=1), metavar="N", help="Feed no more prompt tokens; commit what is done.")
@click.option("--order", type=click.Choice(list(ORDERS)), help="; ".join(f"{o.name}: {o.help}" for o in ORDERS.values()))
@click.option(
    "--use-priority-queue",
    type=bool,
    default=True,
    envvar="VLLM_USE_PRIORITY_QUEUE",
    help="false: first in, first out. --order wins over it.",
)
@click.option(
    "--priority-by-prefill-cost",
    type=bool,
    default=True,
    envvar="VLLM_PRIORITY_BY_PREFILL_COST",
    help="false: by task type. --order wins over it.",
)
@click.option("--chunk-tokens", type=click.IntRange(min=LEAST_CHUNK_TOKENS), default=CHUNK_TOKENS, help="Tokens of reviews in one prompt.")
@click.option(
    "--max-failed",
    default="0",
    callback=parse_allowance,
    metavar="N|P%",
    help="Restaurants that may fail or stay pending without exit code 3.",
)
@click.option("--skip-exit-code", type=click.IntRange(0, 255), default=0, metavar="CODE", help="Exit code where nothing had to be done.")
@machine_options
def analyze(
    inputs: Sequence[str],
    output: Path,
    date: str | None,
    column: Mapping[str, str],
    tasks: Sequence[str],
    stages: str,
    restaurant: Sequence[str],
    since: datetime | None,
    until: datetime | None,
    limit: int | None,
    max_input_bytes: int,
    update: bool,
    store: Path | None,
    no_store: bool,
    force: bool,
    recalibrate: bool,
    stop_at: datetime | None,
    max_prompt_tokens: int | None,
    order: str | None,
    use_priority_queue: bool,
    priority_by_prefill_cost: bool,
    chunk_tokens: int,
    max_failed: tuple[float, bool],
    skip_exit_code: int,
    **machine: Any,
) -> None:
    """Analyse the reviews in INPUT (Parquet files, globs, folders, object-store URIs).

    Restaurants that have not changed since the committed run are carried over, and answers in the store are not asked again: after a
    run that was stopped or killed, the same command goes on.

    \b
    Examples:
      python -m jobs analyze reviews.parquet --output results
      python -m jobs analyze 'dumps/*.parquet' --column text=Review --limit 5 --output trial
    """
    if no_store and (store or force):
        raise click.UsageError("--no-store asks everything anew already; it goes with neither --store nor --force")
    stop = StopSignals()
    progress = TerminalProgress()
    job = Job(
        inputs=inputs,
        output=output / f"dt={date}" if date else output,
        columns=column,
        selection=Selection(tuple(restaurant), since, until, limit),
        tasks=tasks,
        two_stage=stages == "two-stage",
        chunk_tokens=chunk_tokens,
        update=update,
        max_input_bytes=max_input_bytes,
        store=None if no_store else store or output.resolve().with_name(f"{output.resolve().name}.store"),
        force=force,
        recalibrate=recalibrate,
        limits=Limits(stop_at, max_prompt_tokens),
    )
    rule = choose(order, use_priority_queue, priority_by_prefill_cost)
    try:
        done = run_analysis(job, rule, make_machine(**machine, tell=progress.stage), progress, stop)
    except JobError:
        stop()  # an engine that dies after a stop signal is part of the stop
        raise
    finally:
        progress.close()
    if not done.nothing_new:
        click.echo(closing_table(done))
    click.echo(str(done.manifest_path))
    sys.exit(exit_code(done, max_failed) or (skip_exit_code if done.nothing_new else 0))


def closing_table(done: Committed) -> str:
    """What happened, a line each."""
    counts, tokens = done.manifest["counts"], done.manifest["tokens"]
    lines = {
        "restaurants": (", ".join(f"{number:,} {status}" for status, number in sorted(counts["restaurants"].items())) or "none")
        + (f" ({counts['carried_over']:,} unchanged)" if counts["carried_over"] else ""),
        "reviews": f"{counts['reviews']:,} analysed, {counts['rejects']:,} rejected",
        "sentiment": ", ".join(f"{number:,} {name}" for name, number in counts["sentiments"].items()),
        "answers": f"{counts['requests'] - counts['answers_reused']:,} asked, {counts['answers_reused']:,} known already",
        "tokens": f"{tokens['prompt']:,} prompt ({tokens['cached']:,} of them from cache), {tokens['output']:,} output",
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in done.seconds.items()),
        "results": str(done.manifest_path.parent),
    }
    return "\n".join(f"{name:<12} {value}" for name, value in lines.items())


def exit_code(done: Committed, allowed: tuple[float, bool]) -> int:
    """0, or 3 where more restaurants failed or stayed pending than `allowed` (a number, or a share in percent)."""
    missing, total = done.manifest["counts"]["missing"], done.manifest["counts"]["selected"]
    limit, percent = allowed
    return PARTLY_FAILED if missing > (limit / 100 * total if percent else limit) else 0
