"""`benchmark ways`: this job beside other ways to ask the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from jobs.machine_options import engine_options, make_machine
from jobs.options import parse_columns, parse_output, parse_tasks
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline import durable
from pipeline.bench import Bounds, measure_ways
from pipeline.bench_table import page
from pipeline.engine_settings import settings
from pipeline.errors import BadConfiguration, BadData, JobError, TryAgain
from pipeline.floor import Network, measure_ceilings, network
from pipeline.generated import Generated
from pipeline.job import Job
from pipeline.order_plot import draw_orders
from pipeline.reviews import read
from pipeline.runtime import Runtime
from pipeline.simulation.shapes import BYTES
from pipeline.skewed import Cut
from pipeline.tasks.known import TASKS

JSON, PLOT, FORETOLD, DUMP = "bench.json", "bench.png", "predicted.json", "reviews.parquet"
DTYPES = {"float32": "float32", "float": "float32", "float16": "float16", "half": "float16"}
"""Of the engine's options, as torch calls them; anything else is computed in bfloat16."""


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option(
    "--restaurants",
    type=click.IntRange(min=1),
    default=40,
    help="To draw, four fifths of the dump's at most, and to cut to 2 to 100 reviews (log-uniform).",
)
@click.option("--seed", type=int, default=7, help="Of what is drawn or made up.")
@click.option("--repeat", type=click.IntRange(min=1), default=2, help="Runs of each way, in rounds; every second round goes backwards.")
@click.option("--output", callback=parse_output, metavar="FOLDER", help="Write bench.json and bench.png there.")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--tasks", default=",".join(TASKS), callback=parse_tasks, help="Comma-separated.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON in place of the table.")
@engine_options
def ways(
    inputs: Sequence[str],
    restaurants: int,
    seed: int,
    repeat: int,
    output: Path | None,
    column: Mapping[str, str],
    tasks: Sequence[str],
    as_json: bool,
    **machine: Any,
) -> None:
    """Ask the same in four ways on one engine: one restaurant and one task after another; a stage of all restaurants at once, the
    instruction before the reviews; the same with this job's prompts; this job.

    Without INPUT, reviews are made up. Each way begins with an empty prefix cache and without a store. What it will take is predicted, and
    written to predicted.json, before any is measured.

    \b
    Example:
      python -m jobs benchmark ways reviews.parquet --restaurants 40 --repeat 3 --output bench
    """
    stop, progress = StopSignals(), TerminalProgress()
    local = make_machine(**machine, feed="continuous", tell=progress.stage)
    options = settings(local.device, local.options)
    with TemporaryDirectory() as scratch:
        try:
            job = Job(tuple(inputs) or _made(Path(scratch), restaurants, seed), Path(), column, tasks=tasks)
            whole = read(job.inputs, job.columns)
            count = min(restaurants, len(whole.names) * 4 // 5)  # the others give the rates
            if not count:
                raise BadData(f"{', '.join(inputs)}: two restaurants at least are compared; name a larger dump")
            dump = Cut(count, seed).of(whole)
            other = Cut(-(-count // 4), seed).of(whole, set(dump.names))
            runtime = Runtime(local)
            weight_bytes = BYTES.get(str(options.get("dtype", "bfloat16")), 2)
            sizes = _network(runtime, weight_bytes, progress)
            progress.stage("measuring what this machine can do at best")
            bounds = Bounds(measure_ceilings(local.device, DTYPES.get(str(options.get("dtype")), "bfloat16")), sizes)
            bench = measure_ways(dump, other, job, runtime, bounds, repeat, progress, stop, partial(_foretell, output, progress))
        except JobError:
            stop()  # an engine that dies after a stop signal is part of the stop
            raise
        finally:
            progress.close()
    times = "once" if repeat == 1 else f"{repeat} times, medians"
    about = f"{count:,} restaurants, {dump.height:,} reviews, {', '.join(tasks)}; each way {times}, on one engine"
    found = {"about": about, "made_up": not inputs, **bench.found, "ceilings": asdict(bounds.ceilings)}
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else page(found))
    if output:
        done = {name: one.restaurants["finished_s"].drop_nulls() for name, one in bench.timelines.items()}
        _write(output, JSON, lambda path: durable.write_json(path, found))
        _write(output, PLOT, lambda path: durable.write(path, draw_orders(about, done, {})))
        click.echo(f"\n{output / JSON}", err=as_json)


def _network(runtime: Runtime, weight_bytes: int, progress: TerminalProgress) -> Network | None:
    try:
        return network(runtime.model.folder, weight_bytes)
    except BadConfiguration as error:
        progress.warn(str(error))
        return None


def _foretell(output: Path | None, progress: TerminalProgress, predicted: Mapping[str, Any]) -> None:
    """Before anything is measured."""
    progress.stage("predicted: " + ", ".join(f"{name} {seconds:,.0f} s" for name, seconds in predicted.items()))
    if output:
        _write(output, FORETOLD, lambda path: durable.write_json(path, dict(predicted)))


def _write(folder: Path, name: str, write: Callable[[Path], None]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / name)
    except ImportError:
        raise BadConfiguration("matplotlib cannot be imported; run `make setup`, or install the extra 'evaluate'") from None
    except OSError as error:
        raise TryAgain(f"{folder / name}: could not be written ({durable.first_line(error)}); make room and run again") from None


def _made(folder: Path, restaurants: int, seed: int) -> tuple[str, ...]:
    import polars as pl

    path = folder / DUMP
    full = Generated(2 * restaurants, seed, least=100, most=100)  # a cut makes their sizes
    pl.concat(full.tables()).write_parquet(path)
    return (str(path),)
