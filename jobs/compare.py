"""`compare`: what the order of requests costs and gains."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from jobs.machine_options import FEED_HELP, engine_options, make_machine
from jobs.options import parse_columns, parse_levels, parse_output, parse_tasks
from jobs.priority_options import make_priorities, priority_options
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.costs import assumed
from pipeline.engine_settings import Feed, settings
from pipeline.errors import JobError
from pipeline.job import Job
from pipeline.machine import LocalMachine, Unloaded
from pipeline.models import EMBEDDED, find
from pipeline.order import ORDERS, Order
from pipeline.order_files import write
from pipeline.order_table import page
from pipeline.order_trials import Setting
from pipeline.orders_compared import Compared, measure, rates_of, replay, simulate
from pipeline.priorities import Priorities
from pipeline.results import CURRENT
from pipeline.reviews import Selection
from pipeline.runtime import Runtime, Weightless
from pipeline.service_levels import ServiceLevel
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.past_run import read_past_run
from pipeline.simulation.shapes import kv_blocks, shape
from pipeline.skewed import Cut
from pipeline.tasks.known import TASKS
from pipeline.without_weights import tokenizer_of

ON_REVIEWS = ("fit_on", "repeat", "column", "tasks", "limit")
"""Options that say something about reviews that are asked about."""
OF_THE_RUN = ("feeds", "seed", "store", "engine_option", "model", "device")
"""Options that a past run has had."""


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT...]")
@click.option("--order", multiple=True, type=click.Choice(list(ORDERS)), help="Compare these. Repeatable.  [default: all]")
@click.option(
    "--feed", "feeds", multiple=True, type=click.Choice(["continuous", "generate"]), help=f"{FEED_HELP} Repeatable.  [default: continuous]"
)
@click.option("--repeat", type=click.IntRange(min=1), default=3, help="Runs of each order, in rounds; every second round goes backwards.")
@click.option("--simulate-only", is_flag=True, help="Load no engine. Needs a past run's output folder, or --restaurants without INPUT.")
@click.option(
    "--restaurants",
    type=click.IntRange(min=1),
    metavar="N",
    help="So many restaurants of INPUT, drawn, and cut to 2 to 100 reviews (log-uniform), rows shuffled; without INPUT, invented ones.",
)
@click.option("--seed", type=int, default=7, help="Of what is drawn.")
@click.option(
    "--fit-on",
    multiple=True,
    metavar="INPUT",
    help="Fit the prediction on these reviews, asked before. Repeatable.  [default: on the other orders]",
)
@click.option(
    "--store",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Orders that predict go by the costs that runs on this store have measured; no answer is read or kept.  [default: assumed costs]",
)
@click.option("--output", callback=parse_output, metavar="FOLDER", help="Write compare.json, compare.png and compare.parquet there.")
@click.option("--column", multiple=True, callback=parse_columns, metavar="NAME=YOURS", help="Your name of a column. Repeatable.")
@click.option("--tasks", default=",".join(TASKS), callback=parse_tasks, help="Comma-separated.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N restaurants by id.")
@click.option(
    "--slo",
    multiple=True,
    callback=parse_levels,
    metavar="LEVEL=TIME",
    help="Hold the runs against this: ttft=2s, restaurant=10m. Repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON in place of the table.")
@priority_options
@engine_options
def compare(
    inputs: Sequence[str],
    order: Sequence[str],
    feeds: Sequence[Feed],
    repeat: int,
    simulate_only: bool,
    restaurants: int | None,
    seed: int,
    fit_on: Sequence[str],
    store: Path | None,
    output: Path | None,
    column: Mapping[str, str],
    tasks: Sequence[str],
    limit: int | None,
    slo: Sequence[ServiceLevel],
    as_json: bool,
    deadline: Mapping[str, datetime],
    urgent: Sequence[str],
    max_overtake: int | None,
    max_wait: timedelta | None,
    **machine: Any,
) -> None:
    """Compare orders: on reviews (Parquet, as for analyze) with one engine, or by simulation.

    INPUT may also be an output folder of analyze: then its committed run is gone through again in every order, without an engine, which
    tells what it would have cost to go first in, first out. With --restaurants the same is done for restaurants that are drawn. On
    reviews, each order asks everything anew, from an empty prefix cache and without a store; the simulation's prediction stands beside it.

    \b
    Examples:
      python -m jobs compare results
      python -m jobs compare --restaurants 100000 --order restaurant --order fifo
      python -m jobs compare reviews.parquet --restaurants 40 --order restaurant --order fifo --repeat 5 --output orders
    """
    stop, progress = StopSignals(), TerminalProgress()
    past = len(inputs) == 1 and (Path(inputs[0]) / CURRENT).is_file()
    if not inputs and not restaurants:
        raise click.UsageError("name INPUT, or --restaurants N to draw some")
    if past and restaurants:
        raise click.UsageError("--restaurants draws from reviews, not from an output folder of analyze")
    if simulate_only and inputs and not past:
        raise click.UsageError("--simulate-only needs an output folder of analyze, whose answers are known, or --restaurants without INPUT")
    if output and output.exists() and not output.is_dir():
        raise click.UsageError(f"{output}: the comparison cannot be written there (it is a file); choose another --output")
    if past or not inputs:
        _refuse_given(ON_REVIEWS if not past else (*ON_REVIEWS, *OF_THE_RUN))
    orders = [ORDERS[name] for name in dict.fromkeys(order or ORDERS)]
    if (past or not inputs) and len(feeds) > 1:
        raise click.UsageError("one --feed at a time is simulated")
    local = make_machine(**machine, feed=feeds[0] if feeds else "continuous", tell=progress.stage)
    priorities = make_priorities(deadline, urgent, max_overtake, max_wait)
    asked = _Asked(orders, local, store, slo, priorities, progress, stop)
    try:
        if restaurants and not inputs:
            compared = asked.of(Drawn(restaurants, seed))
        elif past:
            compared = asked.of_past_run(Path(inputs[0]))
        else:
            job = Job(inputs, Path(), column, Selection(limit=limit), tasks, priorities=priorities)
            trials = [Setting(one, feed) for feed in feeds or ("continuous",) for one in orders]
            cut = Cut(restaurants, seed) if restaurants else None
            compared = measure(job, fit_on, trials, repeat, Runtime(local), slo, progress, stop, cut, store)
    except JobError:
        stop()  # an engine that dies after a stop signal is part of the stop
        raise
    finally:
        progress.close()
    click.echo(json.dumps(compared.found, indent=2, ensure_ascii=False) if as_json else page(compared.found))
    if output:
        written = write(output, compared, compared.found["about"])
        click.echo(f"\n{written}", err=as_json)


def _refuse_given(names: Sequence[str]) -> None:
    """Usage errors in place of options that would have no effect."""
    context = click.get_current_context()
    given = [name for name in names if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
    if given:
        options = {one.name: one.opts[0] for one in context.command.params}
        said = ", ".join(str(options[name]) for name in given)
        raise click.UsageError(f"{said}: has no effect where no reviews are asked about, but a past run or drawn restaurants are simulated")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is simulated, whatever the restaurants."""

    orders: Sequence[Order]
    machine: LocalMachine
    store: Path | None
    levels: Sequence[ServiceLevel]
    priorities: Priorities
    progress: TerminalProgress
    stop: StopSignals

    def of(self, drawn: Drawn) -> Compared:
        """Invented restaurants, with the rates that the store has, else those assumed for this kind of device."""
        machine = self.machine
        options = settings(machine.device, machine.options)
        engine = shape(options, machine.feed, kv_blocks(_files(machine.name, machine), options))
        rates = assumed(machine.device)
        if self.store:
            with tokenizer_of(machine.name, machine.cache.expanduser()) as model:
                rates = rates_of(Weightless(Unloaded.of(machine, model)), self.store, self.progress)
        compared = simulate(drawn, self.orders, engine, rates, machine.feed, self.levels, self.progress, self.stop, self.priorities)
        compared.found["about"] = f"{drawn.count:,} drawn restaurants, {sum(drawn.sizes):,} reviews, simulated"
        each = ", ".join(
            f"{1000 * seconds:.3g} ms {what}"
            for seconds, what in ((rates.prefill_s, "a prompt token"), (rates.decode_s, "an output token"), (rates.step_s, "a step"))
        )
        source = f"measured on {rates.steps:,} steps" if rates.steps else f"assumed for {machine.device}"
        compared.found["prediction"] = f"rates {source}: {each}"
        return compared

    def of_past_run(self, folder: Path) -> Compared:
        """The committed run of an output folder, its own order first."""
        run = read_past_run(folder, self.progress.warn)
        engine = shape(run.options, run.feed, run.kv_blocks or kv_blocks(_files(run.model, self.machine), run.options))
        own = [ORDERS[run.order]] if run.order in ORDERS else []
        orders = list(dict.fromkeys([*own, *self.orders]))
        given = self.priorities if self.priorities != Priorities() else None
        return replay(run, orders, engine, self.levels, self.progress, self.stop, given)


def _files(model: str, machine: LocalMachine) -> Path | None:
    """Where a model's configuration is at hand, without looking at its weights."""
    if model != EMBEDDED:
        return Path(model)
    found = find(model, machine.cache.expanduser())
    return found.folder if found else None
