"""`evaluate`: how good a model is on this kind of reviews, before one relies on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from jobs.machine_options import machine_options, make_any_machine
from jobs.options import parse_columns, parse_output, parse_tasks
from jobs.progress import TerminalProgress
from jobs.remote_options import remote_options
from jobs.stop import StopSignals
from pipeline.errors import JobError
from pipeline.evaluation import output as files
from pipeline.evaluation.evaluate import Bench
from pipeline.evaluation.evaluate import evaluate as run_evaluation
from pipeline.evaluation.references import read_references
from pipeline.evaluation.samples import Evaluation, draw
from pipeline.evaluation.table import page
from pipeline.reviews import read
from pipeline.tasks.known import TASKS
from pipeline.tokens import Tokens


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--output", callback=parse_output, metavar="FOLDER", help="Write evaluation.json and evaluation.png there.")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--tasks", default=",".join(TASKS), callback=parse_tasks, help="Comma-separated.")
@click.option("--sample", type=click.IntRange(min=2), default=500, help="Reviews to label, of those known to be good or bad.")
@click.option(
    "--label-column",
    metavar="NAME",
    help="Your column of labels (positive, neutral, negative; 1, 0; true, false), in place of the ratings.",
)
@click.option("--neutral", is_flag=True, help="Ask about neutral reviews too (3 stars), in the dump's proportion; they are counted apart.")
@click.option("--restaurants", type=click.IntRange(min=1), default=20, help="How many to summarise and to find strengths of.")
@click.option(
    "--references", metavar="FILE", help="Parquet of summaries to compare with: restaurant_id, summary. Only those restaurants are taken."
)
@click.option("--seed", type=int, default=7, help="Of the samples and the intervals.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON in place of the table.")
@remote_options
@machine_options
def evaluate(
    inputs: Sequence[str],
    output: Path | None,
    column: Mapping[str, str],
    tasks: Sequence[str],
    sample: int,
    label_column: str | None,
    neutral: bool,
    restaurants: int,
    references: str | None,
    seed: int,
    as_json: bool,
    **machine: Any,
) -> None:
    """Measure a model on the reviews in INPUT: what to run when choosing one.

    Sentiment against ratings or labels, which neither the model nor the calibration sees; a neutral label counts as wrong. Summaries and
    strengths against the reviews: every restaurant's are split, four fifths go in and a fifth is left out to compare with. Baselines beside
    it: the majority class, a random review as the summary, and other restaurants' reviews as support.

    \b
    Examples:
      python -m jobs evaluate reviews.parquet --output evaluation
      python -m jobs evaluate reviews.parquet --tasks sentiment --sample 500 --seed 7
    """
    stop, progress = StopSignals(), TerminalProgress()
    files.check(output, tasks)
    summaries = read_references(references) if references else {}
    what = Evaluation(tasks, sample, restaurants, seed, neutral, label_column, summaries)
    dump = read(inputs, column)
    samples = draw(dump, what)
    local = make_any_machine(**machine, tell=progress.stage)
    model = local.model()
    tokens = Tokens(model.folder)
    try:
        found = run_evaluation(dump, samples, what, Bench(tokens, local.engine(model), progress, stop))
    except JobError:
        stop()  # an engine that dies after a stop signal is part of the stop
        raise
    finally:
        progress.close()
    about = {
        "model": model.name,
        "revision": model.revision,
        "inputs": [asdict(file) for file in dump.files],
        "sample": sample,
        "seed": seed,
    }
    found = {**about, **found}
    written = files.write(output, found) if output else None
    click.echo(json.dumps(found, indent=2, ensure_ascii=False) if as_json else page(found))
    if written and not as_json:
        click.echo(f"\n{written}")
