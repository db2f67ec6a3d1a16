"""`benchmark`: what parts of the job cost, measured on this machine. Nothing here is a timed test; figures are printed, a person judges."""

from __future__ import annotations

import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import polars as pl

from jobs.benchmark_driver import driver
from jobs.benchmark_pipeline import pipeline
from jobs.benchmark_scale import scale
from jobs.benchmark_ways import ways
from jobs.machine_options import machine_options, make_machine
from jobs.options import parse_columns
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline import parts, summary_wordings
from pipeline.costs import assumed
from pipeline.engine_settings import settings as engine_settings
from pipeline.groups import group
from pipeline.order import ORDERS
from pipeline.records import Answer, Request, Sampling
from pipeline.reviews import read
from pipeline.runtime import Runtime
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.loop import Simulation
from pipeline.simulation.shapes import shape
from pipeline.store import Store
from pipeline.stored import stored_key
from pipeline.timeline import Timeline

IDENTITY = "00" * 16
BLOCKS = 2911
"""Of the KV cache that `engine_settings` gives the embedded model on a CPU, by `simulation.shapes.kv_blocks`."""


@click.group()
def benchmark() -> None:
    """Measure parts of the job on this machine; prints JSON.

    \b
    Example:
      python -m jobs benchmark store --answers 10000000 --keys 1000000
      python -m jobs benchmark summaries reviews.parquet --skip 60 --restaurants 40
      python -m jobs benchmark simulation --restaurants 21000
      python -m jobs benchmark ways reviews.parquet --repeat 3
      python -m jobs benchmark pipeline --restaurants 100000
      python -m jobs benchmark driver --restaurants 100000
      python -m jobs benchmark scale --reviews 100000000 --workers 1000
    """


benchmark.add_command(ways)
benchmark.add_command(pipeline)
benchmark.add_command(driver)
benchmark.add_command(scale)


@benchmark.command()
@click.option("--answers", type=click.IntRange(min=1), default=1_000_000, help="Answers in the store.")
@click.option("--keys", type=click.IntRange(min=1), default=100_000, help="Keys to look up at once; every second one is stored.")
@click.option("--added", type=click.IntRange(min=1), default=50_000, help="Answers to add one by one.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to build it.  [default: a temporary folder]")
def store(answers: int, keys: int, added: int, folder: Path | None) -> None:
    """Look keys up in a large store of one-token answers, and add answers to it."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        place = Path(scratch)
        measured: dict[str, Any] = {"answers": answers, "keys": keys, "built_s": _timed(lambda: _build(place, answers))}
        measured["bytes"] = sum(part.path.stat().st_size for part in parts.listed(place / "answers"))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # of building, a part at a time
        measured["open_s"] = _timed(lambda: Store(place, IDENTITY).close())
        wanted = [_key(i) for i in np.random.default_rng(1).integers(0, 2 * answers, keys).tolist()]
        with Store(place, IDENTITY) as opened:
            found = 0

            def look_up() -> None:
                nonlocal found
                found = sum(1 for _ in opened.find(wanted))

            measured["look_up_s"] = _timed(look_up)
            measured["found"] = found
            new = [(_request(-1 - i), _answer(_key(-1 - i))) for i in range(added)]
            measured["added"] = added

            def add() -> None:
                for request, answer in new:
                    opened.add(request, answer)
                opened.flush()

            measured["add_s"] = _timed(add)
            measured["added_per_s"] = round(added / measured["add_s"])
        measured["peak_mib"] = {"building": before >> 10, "all": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10}
    click.echo(json.dumps(measured, indent=2))


@benchmark.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option(
    "--wording", multiple=True, metavar="NAME", help="Only this wording of pipeline/summary_wordings.toml, or 'kept'. Repeatable."
)
@click.option("--skip", type=click.IntRange(min=0), default=0, help="Restaurants to leave out, by id.")
@click.option("--restaurants", type=click.IntRange(min=1), default=40, help="Restaurants to ask about, by id after those.")
@click.option("--reviews", type=click.IntRange(min=1), default=25, help="Of each restaurant to show, and as many to leave out; by date.")
@click.option("--seed", type=int, default=7, help="Of the draws of other reviews.")
@click.option(
    "--store", type=click.Path(file_okay=False, path_type=Path), default=Path("summaries.store"), help="Answers already paid for."
)
@machine_options
def summaries(
    inputs: Sequence[str],
    column: Mapping[str, str],
    wording: Sequence[str],
    skip: int,
    restaurants: int,
    reviews: int,
    seed: int,
    store: Path,
    **machine: Any,
) -> None:
    """Compare wordings of the request for a summary on English reviews.

    Share of generated sentences that the restaurant's reviews support, beside the share that as many reviews of other restaurants would;
    ROUGE-1 of the published summaries against reviews left out, beside a random review's.
    """
    stop, progress = StopSignals(), TerminalProgress()
    known = summary_wordings.wordings()
    if unknown := sorted(set(wording) - set(known)):
        raise click.BadParameter(f"there is no {', '.join(unknown)}; there are {', '.join(known)}", param_hint="--wording")
    cases = summary_wordings.cases(group(read(inputs, column)), skip, restaurants, reviews, reviews, seed)
    runtime = Runtime(make_machine(**machine, tell=progress.stage))
    chosen = {name: known[name] for name in wording or known}
    with Store(store, runtime.identity, progress.warn) as answers:
        found = summary_wordings.measure(cases, chosen, runtime.tokens, runtime.engine, answers, seed, progress.stage, stop)
    click.echo(json.dumps({"model": runtime.model.name, "skip": skip, "reviews": reviews, "seed": seed, **found}, indent=2))


@benchmark.command()
@click.option("--restaurants", type=click.IntRange(min=1), default=21_000, help="To draw; each asks about 49 requests.")
@click.option("--order", multiple=True, type=click.Choice(list(ORDERS)), default=["restaurant", "fifo"], help="To simulate. Repeatable.")
@click.option("--seed", type=int, default=7, help="Of the draw.")
@click.option("--cache", is_flag=True, help="Tell what share of what a cache that forgets nothing would serve is served, too.")
def simulation(restaurants: int, order: Sequence[str], seed: int, cache: bool) -> None:
    """Simulate drawn restaurants on the CPU's settings: requests, tokens, processor seconds and wall seconds of each order."""
    drawn = Drawn(restaurants, seed)

    def run(name: str, blocks: int | None) -> Timeline:
        return Simulation(drawn, ORDERS[name], shape(engine_settings("cpu"), "continuous", blocks), assumed("cpu")).run()

    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(order):
        began, on_processor = time.monotonic(), time.process_time()
        timeline = run(name, BLOCKS)
        prompts, cached = (int(timeline.requests[column].sum()) for column in ("prompt_tokens", "cached_tokens"))
        found[name] = {
            "requests": timeline.requests.height,
            "steps": timeline.steps,
            "seconds": round(time.monotonic() - began, 2),
            "processor_s": round(time.process_time() - on_processor, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "prompt_tokens": prompts,
            "cached_share": round(cached / prompts, 4),
        }
        if cache:
            found[name]["of_perfect_cache"] = round(cached / int(run(name, None).requests["cached_tokens"].sum()), 4)
    click.echo(json.dumps(found, indent=2))


def _timed(work: Any) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 2)


def _key(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def _request(number: int) -> Request:
    return Request(_key(number), "sentiment", "label", str(number // 100), np.zeros(40, dtype=np.uint32), Sampling(1))


def _answer(key: str) -> Answer:
    words = {300 + i: -0.1 * i for i in range(8)}
    return Answer(key, logprobs=words, prompt_tokens=120, output_tokens=1, queue_s=0.1, prefill_s=0.2, decode_s=0.0, finish_reason="stop")


def _build(place: Path, answers: int) -> None:
    """Full parts as they look after merging, without the hours of a real run."""
    (place / "answers").mkdir(parents=True)
    identity = bytes.fromhex(IDENTITY)
    random = np.random.default_rng(0)
    for sequence, start in enumerate(range(0, answers, parts.FULL), start=1):
        some = range(start, min(start + parts.FULL, answers))
        stored = [stored_key(identity, _key(i)) for i in some]
        halves = np.frombuffer(b"".join(stored), dtype="<u8").reshape(-1, 2)
        count = len(stored)
        rows = pl.DataFrame({"high": halves[:, 0], "low": halves[:, 1], "number": np.arange(start, start + count)}).select(
            "high",
            "low",
            task=pl.lit("sentiment"),
            stage=pl.lit("label"),
            restaurant_id=(pl.col("number") // 100).cast(pl.String),
            text=pl.lit(""),
            choices=pl.lit(np.arange(300, 308, dtype="<u4").tobytes()),
            logprobs=pl.Series([row.tobytes() for row in random.standard_normal((count, 8))], dtype=pl.Binary),
            **{name: pl.lit(120, dtype=pl.UInt32) for name in ("prompt_tokens", "cached_tokens", "output_tokens")},
            **{name: pl.lit(0.1) for name in ("queue_s", "prefill_s", "decode_s")},
            finish_reason=pl.lit("stop"),
            added_at=pl.lit(0).cast(pl.Datetime("us", "UTC")),
        )
        parts.write(place / "answers", rows, sequence)
