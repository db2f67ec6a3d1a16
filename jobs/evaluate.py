"""`evaluate`: how well the model labels this kind of reviews, before one relies on it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from jobs.machine import machine_options, make_machine
from jobs.options import parse_columns
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.errors import JobError
from pipeline.evaluation import evaluate_sentiment, rated_sample
from pipeline.order import ORDERS
from pipeline.reviews import read
from pipeline.tokens import Tokens


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--sample", type=click.IntRange(min=2), default=500, help="Rated reviews to ask about; those with 3 stars are left out.")
@click.option("--seed", type=int, default=7, help="Of the sample.")
@machine_options
def evaluate(inputs: Sequence[str], column: Mapping[str, str], sample: int, seed: int, **machine: Any) -> None:
    """Label a sample of rated reviews and compare: balanced accuracy, area under the curve, confusion.

    The ratings are withheld; the boundary comes from the anchor reviews alone. A neutral label counts as wrong. Prints JSON.

    \b
    Example:
      python -m jobs evaluate reviews.parquet --sample 500 --seed 7
    """
    stop, progress = StopSignals(), TerminalProgress()
    rated = rated_sample(read(inputs, column), sample, seed)
    local = make_machine(**machine, tell=progress.stage)
    model = local.model()
    tokens = Tokens(model.folder)
    try:
        found = evaluate_sentiment(rated, tokens, local.engine(model), ORDERS["fifo"], progress, stop)
    except JobError:
        stop()
        raise
    finally:
        progress.close()
    click.echo(json.dumps({"model": model.name, "sample": sample, "seed": seed, **found}, indent=2))
