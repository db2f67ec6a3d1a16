"""Options from a TOML file: a table per command, a key per option, both called as they are typed. What is wrong is told with its place."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from jobs.config_values import fitting
from jobs.option_names import ConfigFile, typed_name

NOT_IN_A_FILE = frozenset({"help", "print-config"})
AS_ANALYZE = ("plan", "merge")
"""Commands that are told what `analyze` is told."""


def load_config(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Makes the file's values the defaults of this context's commands; those of AS_ANALYZE take what they have none of their own for from
    `analyze`. Raises BadParameter."""
    if path is None:
        return
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise click.BadParameter(f"{path} is not TOML: {error}") from None
    group, read = context.command, _Reader(context, ConfigFile(path))
    assert isinstance(group, click.Group)
    found, places = read.group(group, tables, ()), read.file.places
    for other in AS_ANALYZE if "analyze" in found else ():
        command = group.get_command(context, other)
        for option in command.params if command else ():
            name = str(option.name)
            if name in found["analyze"] and name not in found.setdefault(other, {}):
                found[other][name], places[other, name] = found["analyze"][name], places["analyze", name]
    context.default_map = found
    read.file.keep(context)


@dataclass(frozen=True, slots=True)
class _Reader:
    context: click.Context
    file: ConfigFile

    def group(self, group: click.Group, tables: Mapping[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        """A table for each command, by name."""
        found: dict[str, Any] = {}
        for name, table in tables.items():
            command, inside = group.get_command(self.context, name), (*above, name)
            if not isinstance(table, dict):
                raise self._wrong(f"{name}: stands in no command's table; options go below e.g. [analyze]")
            if command is None:
                near = _nearest(name, group.list_commands(self.context))
                raise self._wrong(f"[{'.'.join(inside)}] is no command's table; {near}")
            if isinstance(command, click.Group):
                found[name] = self.group(command, table, inside)
            else:
                found[name] = self.options(command, table, inside)
        return found

    def options(self, command: click.Command, table: Mapping[str, Any], above: tuple[str, ...]) -> dict[str, Any]:
        """A value for each option, by Python's name of it."""
        known = {typed_name(option): option for option in command.params if isinstance(option, click.Option)}
        known = {name: option for name, option in known.items() if name not in NOT_IN_A_FILE}
        found: dict[str, Any] = {}
        for key, value in table.items():
            name, place = key.replace("_", "-"), f"[{'.'.join(above)}] {key}"
            if name not in known:
                raise self._wrong(f"{place}: no such option; {_nearest(name, known)}")
            option = known[name]
            if option.name in found:
                raise self._wrong(f"{place}: is there twice, with - and with _")
            try:
                found[str(option.name)] = fitting(option, value)
            except TypeError as error:
                raise self._wrong(f"{place}: {error}") from None
            self.file.places[" ".join(above), str(option.name)] = place
        return found

    def _wrong(self, what: str) -> click.BadParameter:
        return click.BadParameter(f"{self.file.path}: {what}")


def _nearest(name: str, there: Iterable[str]) -> str:
    names = list(there)
    close = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
