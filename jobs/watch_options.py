"""Options about who is told of a run: the log, and those who observe its beginning and end."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from jobs import lineage
from jobs.json_progress import JsonProgress
from jobs.log import Log
from jobs.metrics import Metrics
from jobs.observed import Observed, Run, RunObserver
from jobs.progress import TerminalProgress
from jobs.quiet_progress import QuietProgress

F = TypeVar("F", bound=Callable[..., Any])


def _choose_format(ctx: click.Context, _: click.Parameter, chosen: str) -> None:
    ctx.ensure_object(Log).as_json = chosen == "json"


def watch_options(command: F) -> F:
    """Adds --log-format, --metrics."""
    options = [
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            is_eager=True,  # an error in another option is told in this form, too
            expose_value=False,
            callback=_choose_format,
            help="Of stderr. text: lines and a bar for people; json: an object a line, with run id, date, event and counts.",
        ),
        click.option(
            "--metrics",
            type=click.Path(dir_okay=False, path_type=Path),
            metavar="FILE",
            help="Write the run's figures there for Prometheus (the textfile collector of node_exporter), e.g. DIRECTORY/reviews.prom.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


Shown = TerminalProgress | QuietProgress | JsonProgress


def progress_for(quiet: bool, doing: str = "analysing", what: str = "restaurants") -> Shown:
    """What --log-format and --quiet ask for. `what`: the rows of the result."""
    log = click.get_current_context().ensure_object(Log)
    if log.as_json:
        log.quiet = quiet
        return JsonProgress(log, what)
    return QuietProgress() if quiet else TerminalProgress(doing=doing, what=what)


def observed(run: Run, metrics: Path | None, progress: Shown) -> Observed:
    """The run, and everyone who wants to know of it: the log, the file of --metrics, and a catalogue where OpenLineage is configured."""
    observers: list[RunObserver] = [progress] if isinstance(progress, JsonProgress) else []
    if metrics is not None:
        observers.append(Metrics(metrics))
    if lineage.configured(os.environ):
        observers.append(lineage.Lineage())
    return Observed(run, observers, progress.warn)
