"""`benchmark driver`: the constants of `pipeline/simulation/overheads.py`, measured on this machine."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from jobs.benchmark_pipeline import write_dump
from jobs.instant_machine import instant_machine
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.analysis import analyze
from pipeline.driving import driven, merged_parts
from pipeline.generated import Generated
from pipeline.job import Job
from pipeline.order import ORDERS


@click.command()
@click.option("--restaurants", type=click.IntRange(min=1), default=10_000, help="To make up, of 2 to 30 reviews, 10 on average.")
@click.option("--workers", type=click.IntRange(min=1), default=16, help="That pieces are dealt to.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="For dump and results.  [default: a temporary folder]")
def driver(restaurants: int, workers: int, folder: Path | None) -> None:
    """Time what the driver of many workers does itself, on made-up reviews, an engine that answers at once in vLLM's place; prints JSON.

    Microseconds: of a review read, sent, taken back and written, of a restaurant found and dealt, of a small part of the store written and
    merged. `dump_bytes`: of a review, on disk.
    """
    stop, progress = StopSignals(), TerminalProgress()
    machine = instant_machine(progress.stage)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        dump, answers = Path(scratch) / "dump", Path(scratch) / "parts"
        answers.mkdir()
        progress.stage(f"making up {restaurants:,} restaurants")
        reviews = write_dump(Generated(restaurants, most=30), dump)
        job = Job((str(dump),), Path(scratch) / "results", store=None)
        try:
            done = analyze(job, ORDERS["restaurant"], machine, progress, stop)
            progress.stage("timing the driver's part")
            seconds = driven(job, machine, done, workers)
        finally:
            progress.close()
        size = sum(path.stat().st_size for path in dump.glob("*.parquet"))
        store = merged_parts(answers)
    each = {step: round(1e6 * took / (restaurants if step == "find" else reviews), 3) for step, took in seconds.items()}
    found = {"restaurants": restaurants, "reviews": reviews, "dump_bytes": round(size / reviews, 1), "microseconds": each}
    click.echo(json.dumps({**found, "store_microseconds": {name: round(1e6 * took) for name, took in store.items()}}, indent=2))
