"""`benchmark scale`: a run on many GPUs, on paper."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import click

from jobs.progress import TerminalProgress
from jobs.scale_page import scale_lines
from pipeline.costs import CostModel, assumed
from pipeline.dealing import LEAST_S
from pipeline.engine_settings import settings as engine_settings
from pipeline.peak_memory import peak_bytes
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.drawn_work import costs_of, drawn_work, sizes_of
from pipeline.simulation.overheads import FIND_BY_KIND_S, GPU_START_S, MEASURED, NETWORK_BYTES, Size
from pipeline.simulation.passes import Worker
from pipeline.simulation.scaled import scaled, worker_counts
from pipeline.simulation.shapes import shape
from pipeline.simulation.workers import Simulated

GUESS = assumed("gpu")
LEAST = round(1000 * LEAST_S)


@click.command()
@click.option("--reviews", type=click.IntRange(min=1), default=100_000_000, show_default=True, help="To draw.")
@click.option("--workers", type=click.IntRange(min=1), default=1000, show_default=True, help="GPUs at most; 1, 2, 4, ... are told, too.")
@click.option("--least", type=click.IntRange(min=1), default=2, show_default=True, help="Reviews of a restaurant, log-uniform.")
@click.option("--most", type=click.IntRange(min=1), default=100, show_default=True, help="Up to so many.")
@click.option("--largest", type=click.IntRange(min=0), default=0, help="Reviews of one restaurant beside those.")
@click.option("--prefill", type=click.FloatRange(min=0, min_open=True), default=1 / GUESS.prefill_s, help="Prompt tokens a second.")
@click.option("--decode", type=click.FloatRange(min=0, min_open=True), default=1 / GUESS.decode_s, help="Output tokens a second.")
@click.option("--step-ms", type=click.FloatRange(min=0), default=1000 * GUESS.step_s, help="Milliseconds of a step beside its tokens.")
@click.option("--max-num-seqs", type=click.IntRange(min=1), default=1024, show_default=True, help="Of the engine.")
@click.option("--max-num-batched-tokens", type=click.IntRange(min=1), default=16384, show_default=True, help="Of the engine.")
@click.option("--kv-tokens", type=click.IntRange(min=1), default=400_000, show_default=True, help="That its KV cache holds.")
@click.option("--load-s", type=click.FloatRange(min=0), default=GPU_START_S, show_default=True, help="Seconds until an engine is loaded.")
@click.option("--bandwidth", type=click.FloatRange(min=1), default=NETWORK_BYTES, help="Bytes a second from the object store.")
@click.option(
    "--dump-bytes",
    type=click.FloatRange(min=0),
    default=110.0,
    show_default=True,
    help="Of a review in the dump.",
)
@click.option("--categories", is_flag=True, help="The dump has categories and areas, by which peers are chosen at once.")
@click.option("--shards", is_flag=True, help="Runs of their own, each of which reads the whole dump, in place of a driver's pieces.")
@click.option("--exact", is_flag=True, help="Simulate every request of every piece, too; for small numbers of reviews.")
@click.option("--seed", type=int, default=7, help="Of the draw.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def scale(
    reviews: int,
    workers: int,
    least: int,
    most: int,
    largest: int,
    prefill: float,
    decode: float,
    step_ms: float,
    load_s: float,
    bandwidth: float,
    dump_bytes: float,
    categories: bool,
    shards: bool,
    exact: bool,
    seed: int,
    as_json: bool,
    **engine: int,
) -> None:
    """Tell what drawn reviews would take on 1, 2, 4, ... GPUs, where that saturates, and what would move it; on paper.

    Pieces are too large to simulate each: sampled ones are, a line goes through them, and it is told how far off that is on pieces that it
    was not fitted on. The rates are a guess where none are given: those of your model are in the store (`costs`) after a run.

    \b
    Example:
      python -m jobs benchmark scale --prefill 60000 --decode 12000 --step-ms 8
    """
    progress = TerminalProgress()
    began = time.monotonic()
    kv_tokens = engine.pop("kv_tokens")
    options = engine_settings("gpu", engine)
    of_engine = shape(options, "continuous", None)
    of_engine = replace(of_engine, blocks=kv_tokens // of_engine.block_size)
    worker = Worker(of_engine, CostModel(step_ms / 1000, 1 / prefill, 1 / decode))
    drawn = Drawn(1, seed, least, most)
    progress.stage("drawing reviews")
    sizes = sizes_of(reviews, drawn, largest)
    progress.stage("simulating sampled pieces")
    work = drawn_work(sizes, drawn, worker, LEAST)
    size = Size(int(sizes.sum()), len(sizes), int(sizes.sum()), int(dump_bytes * sizes.sum()))
    overheads = replace(MEASURED, load_s=load_s, bandwidth=bandwidth, find_s=FIND_BY_KIND_S if categories else MEASURED.find_s)
    counts = worker_counts(workers)
    found = scaled(work, counts, size, overheads, shards)
    told: dict[str, Any] = {
        "reviews": size.reviews,
        "restaurants": size.restaurants,
        "off": {"mean": round(work.line.off[0], 4), "largest": round(work.line.off[1], 4)},
        "scaled": [one.plain() for one in found],
    }
    if exact:
        told["exact"] = [
            one.plain() for one in scaled(_exact(replace(drawn, count=size.restaurants), worker), counts, size, overheads, shards)
        ]
    told |= {"seconds": round(time.monotonic() - began, 1), "peak_mib": peak_bytes() >> 20}
    progress.close()
    if as_json:
        click.echo(json.dumps(told, indent=2))
        return
    click.echo("\n".join(scale_lines(found, "GPUs")))
    progress.stage(f"off by {work.line.off[0]:.1%} in the mean on sampled pieces that the line does not go through")


def _exact(drawn: Drawn, worker: Worker) -> Simulated:
    costs = costs_of(drawn.sizes, worker).round().astype(int).tolist()
    return Simulated(drawn, dict(zip((one.restaurant_id for one in drawn.restaurants), costs, strict=True)), worker, LEAST)
