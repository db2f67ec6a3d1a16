"""`store`: what the store of answers holds and what it saves; making it smaller; forgetting."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import click

from jobs.options import parse_duration, parse_size
from pipeline import upkeep

FOLDER = click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default="results.store")


@click.group()
def store() -> None:
    """Look after a store of answers (FOLDER, by default results.store).

    \b
    Examples:
      python -m jobs store size
      python -m jobs store prune results.store --older-than 90d
      python -m jobs store forget results.store --restaurant 1024
    """


@store.command()
@FOLDER
def size(folder: Path) -> None:
    """Print answers, bytes, age and hits as JSON."""
    click.echo(json.dumps(upkeep.describe(folder), indent=2, default=str))


@store.command()
@FOLDER
@click.option("--older-than", callback=parse_duration, metavar="AGE", help="Remove answers computed longer ago, e.g. 90d, 12h.")
@click.option("--max-size", callback=parse_size, metavar="SIZE", help="Then remove the oldest until no more is left, e.g. 20GB.")
def prune(folder: Path, older_than: timedelta | None, max_size: int | None) -> None:
    """Remove answers by age or size. A removed answer is asked again when it is needed again."""
    if older_than is None and max_size is None:
        raise click.UsageError("nothing says what to remove; give --older-than or --max-size")
    _tell(upkeep.prune(folder, older_than, max_size))


@store.command()
@FOLDER
@click.option("--restaurant", multiple=True, required=True, metavar="ID", help="Whose answers go. Repeatable.")
def forget(folder: Path, restaurant: Sequence[str]) -> None:
    """Remove every answer asked for a restaurant, and try its requests again that an engine died of.

    For reviews that must be deleted: take them out of the dump, forget their restaurants, analyse again, and remove the run before from
    OUTPUT/runs. A summary of fifty reviews cannot forget one of them, so a restaurant is forgotten as a whole. An answer belongs to the
    restaurant that asked first: forget others with the same review, too.
    """
    _tell(upkeep.forget(folder, restaurant))


def _tell(removed: upkeep.Removed) -> None:
    click.echo(f"{removed.answers:,} answers removed, {removed.bytes_before:,} bytes before, {removed.bytes_after:,} after")
