"""The options of `analyze` for commands beside it, which have to be told what it is told."""

from __future__ import annotations

import copy
from collections.abc import Collection

import click

from jobs.analyze import analyze
from jobs.option_names import PREFIX, variable


def options_of_analyze(without: Collection[str]) -> list[click.Parameter]:
    """All but those `without`; also from the environment of `analyze`, so that one set of variables serves both."""
    options = []
    for option in (copy.copy(one) for one in analyze.params if one.name not in without):
        if isinstance(option, click.Option) and option.envvar is None and option.name:
            option.envvar = list(dict.fromkeys([variable("analyze", option), f"{PREFIX}_ANALYZE_{option.name.upper()}"]))
        options.append(option)
    return options
