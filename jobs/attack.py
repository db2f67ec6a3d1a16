"""`attack`: what hostile reviews can do to the results with this model, and what they cannot."""

from __future__ import annotations

import json
from typing import Any

import click

from jobs.machine_options import machine_options, make_machine
from jobs.progress import TerminalProgress
from jobs.stop import StopSignals
from pipeline.attacks import attacks, cases, ordinary
from pipeline.calibrations import fit_sentiment
from pipeline.errors import JobError
from pipeline.tokens import Tokens
from pipeline.trial import Trial, measure_attacks


@click.command()
@machine_options
def attack(**machine: Any) -> None:
    """Run ordinary restaurants without and with written attacks in their reviews, and compare.

    Other reviews and other restaurants must not change, and every answer must keep its form. How often an attack turns over the label of
    its own review depends on the model. Needs no dump. Prints JSON.

    \b
    Example:
      python -m jobs attack --model embedded
    """
    stop, progress = StopSignals(), TerminalProgress()
    local = make_machine(**machine, tell=progress.stage)
    model = local.model()
    tokens = Tokens(model.folder)
    try:
        reviews, engine = ordinary(), local.engine(model)
        fits = fit_sentiment({one.language for one in reviews}, tokens, engine, progress, stop)
        found = measure_attacks(cases(attacks(), reviews), Trial(tokens, engine, fits, reviews), progress, stop)
    except JobError:
        stop()
        raise
    finally:
        progress.close()
    click.echo(json.dumps({"model": model.name, **found}, indent=2))
