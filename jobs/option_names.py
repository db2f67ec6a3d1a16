"""What an option is called: as it is typed, in a file, in the environment; and where its value is from."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import click
from click.core import ParameterSource

PREFIX = "REVIEW_DIGEST"
_META = "jobs.config"


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of options. `places`: table and key by command and Python's name of the option."""

    path: Path
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def keep(self, context: click.Context) -> None:
        """For this context and all below it."""
        context.meta[_META] = self


def typed_name(option: click.Parameter) -> str:
    """`chunk-tokens` of --chunk-tokens, whatever Python calls it."""
    return max(option.opts, key=len).lstrip("-")


def variable(command: str, option: click.Parameter) -> str:
    """The environment variable of a command's option."""
    return f"{PREFIX}_{command}_{typed_name(option)}".replace("-", "_").upper()


def command_name(context: click.Context) -> str:
    """`store prune` of `python -m jobs store prune`."""
    above = context.parent
    return "" if above is None else f"{command_name(above)} {context.info_name}".strip()


def origin(context: click.Context, option: click.Parameter) -> str:
    """Where the value of a command's option is from: command line, environment VARIABLE, file PATH: [table] key, or default."""
    source = context.get_parameter_source(str(option.name))
    if source is ParameterSource.ENVIRONMENT:
        names = [option.envvar] if isinstance(option.envvar, str) else list(option.envvar or ())
        names.append(f"{context.auto_envvar_prefix}_{option.name}".upper())
        return f"environment {next(name for name in names if os.environ.get(name))}"
    if source is ParameterSource.DEFAULT_MAP:
        file: ConfigFile = context.meta[_META]
        return f"file {file.path}: {file.places[command_name(context), str(option.name)]}"
    return "command line" if source is ParameterSource.COMMANDLINE else "default"


def say_where(error: click.BadParameter) -> None:
    """Makes an error about a value that was not typed name the place it is from."""
    if error.ctx is not None and error.param is not None and error.param_hint is None:
        found = origin(error.ctx, error.param)
        if found.startswith(("environment", "file")):
            error.param_hint = found
