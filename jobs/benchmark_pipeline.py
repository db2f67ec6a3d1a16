"""`benchmark pipeline`: the job's own work, an engine in vLLM's place that answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from jobs.benchmark_nights import nights_after, timed
from jobs.instant_machine import instant_machine
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.analysis import analyze
from pipeline.errors import JobError
from pipeline.generated import Generated
from pipeline.job import Job
from pipeline.order import ORDERS
from pipeline.sampled import sampled

ROWS = 1_000_000
"""Of a file of the dump, at most a few more."""


@click.command()
@click.option("--restaurants", type=click.IntRange(min=1), default=10_000, help="To make up.")
@click.option(
    "--most", type=click.IntRange(min=2), default=30, help="Reviews of a restaurant at most; 2 to 30, log-uniform, are 10 on average."
)
@click.option("--order", type=click.Choice(list(ORDERS)), default="restaurant", help="Of requests.")
@click.option("--seed", type=int, default=7, help="Of what is made up.")
@click.option("--profile", is_flag=True, help="Tell processor seconds by file, too.")
@click.option("--plan", "planned", is_flag=True, help="Tell what `plan` takes on the same reviews, too.")
@click.option("--again", is_flag=True, help="Tell what the next nights take, too: nothing new, then a review more in one of 100.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="For dump and results.  [default: a temporary folder]")
def pipeline(restaurants: int, most: int, order: str, seed: int, profile: bool, planned: bool, again: bool, folder: Path | None) -> None:
    """Take made-up reviews through the whole job, all tasks, with an engine that answers at once; prints JSON.

    Answers are kept for the run alone (with --again for the nights after it), so that equal questions are asked once; nearly all reviews
    differ. `own_ms_per_request`: processor milliseconds of everything but that engine. `peak_mib`: resident memory at its most, null where
    it cannot be told apart from the dump's making.
    """
    stop, progress = StopSignals(), TerminalProgress()
    machine = instant_machine(progress.stage)
    seconds: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        dump = Path(scratch) / "dump"
        progress.stage(f"making up {restaurants:,} restaurants")
        reviews = write_dump(Generated(restaurants, seed, most=most), dump)
        analyze(Job((str(_few(Path(scratch))),), Path(scratch) / "few", store=None), ORDERS[order], machine, progress, stop)  # imports
        machine.made.clear()

        job = Job((str(dump),), Path(scratch) / "results", store=Path(scratch) / "answers" if again else None)
        try:
            with sampled(seconds, "instant_engine.py") if profile else nullcontext():
                took = timed(lambda: analyze(job, ORDERS[order], machine, progress, stop))
            size = sum(path.stat().st_size for path in dump.glob("*.parquet"))
            plan = _plan(dump, order, progress) if planned else {}
            nights = nights_after(restaurants, dump, job, ORDERS[order]) if again else {}
        finally:
            progress.close()
    engine = machine.made[0]
    own_s = took.processor_s - engine.busy_s
    found: dict[str, Any] = {
        "restaurants": restaurants,
        "reviews": reviews,
        "dump_mib": size >> 20,
        "requests": engine.answered,
        "requests_per_review": round(engine.answered / reviews, 3),
        "wall_s": round(took.wall_s, 2),
        "seconds": dict(took.done.seconds),
        "reviews_per_s": round(reviews / took.wall_s),
        "processor_s": round(took.processor_s, 2),
        "engine_s": round(engine.busy_s, 2),
        "own_ms_per_request": round(1000 * own_s / engine.answered, 4),
        "peak_mib": took.peak_mib,
        **plan,
        **nights,
    }
    if profile:
        found["processor_s_by_file"] = {name: round(value, 2) for name, value in seconds.most_common()}
    click.echo(json.dumps(found, indent=2))


def _plan(dump: Path, order: str, progress: TerminalProgress) -> dict[str, Any]:
    """The command in a process of its own, as a person runs it."""
    progress.stage("planning")
    began = time.monotonic()
    options = ["--no-store", "--order", order, "--output", str(dump.parent / "none"), "--json"]
    command = [sys.executable, "-m", "jobs", "plan", str(dump), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(done.stderr.strip())
    return {"plan_s": round(time.monotonic() - began, 2), "plan_peak_mib": json.loads(done.stdout)["memory"]["plan_peak"] >> 20}


def _few(folder: Path) -> Path:
    """A dump of its own, for a run in which everything is imported."""
    write_dump(Generated(3), folder / "first")
    return folder / "first"


def write_dump(made: Generated, folder: Path) -> int:
    """The dump in files of ROWS rows, a little at a time; how many rows in all."""
    import pyarrow.parquet as pq

    folder.mkdir()
    rows, writer = 0, None
    for number, table in enumerate(made.tables()):
        arrow = table.to_arrow()
        if writer is None or rows // ROWS != (rows + table.height) // ROWS:
            if writer:
                writer.close()
            writer = pq.ParquetWriter(folder / f"{number:06}.parquet", arrow.schema)
        writer.write_table(arrow)
        rows += table.height
    if writer:
        writer.close()
    return rows
