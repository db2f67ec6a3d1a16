"""`merge`: shards of one `analyze`, run anywhere, to one committed run."""

from __future__ import annotations

from typing import Any

import click

from jobs.analyze import analyze
from jobs.options_of_analyze import options_of_analyze

OF_A_SHARD = ("shard", "recalibrate")


@click.command(params=options_of_analyze(OF_A_SHARD))
@click.option("--shards", type=click.IntRange(min=1), required=True, metavar="N", help="How many there are: all of 1/N to N/N.")
@click.pass_context
def merge(ctx: click.Context, /, shards: int, **options: Any) -> None:
    """Put N shards of `analyze --shard K/N` together and commit: the results are those of one run.

    Takes the inputs and options that the shards were given, and the environment of analyze. Checks that all of them are there and belong
    together, asks the comparisons that they could not make, and removes OUTPUT/shards/N. Exit code 75 where some have not ended yet: try
    again later; 78 where some were made of other inputs or options. Where all comparisons are made already no model is loaded.

    \b
    Examples:
      python -m jobs analyze reviews.parquet --output results --shard 1/2
      python -m jobs analyze reviews.parquet --output results --shard 2/2
      python -m jobs merge reviews.parquet --output results --shards 2
    """
    ctx.invoke(analyze, merge=shards, shard=None, recalibrate=False, **options)
