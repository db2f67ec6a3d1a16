"""The options of a command as they count, and where each is from: a TOML file that can be given back with --config."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from jobs.config import NOT_IN_A_FILE
from jobs.masking import MASK, is_secret, masked
from jobs.option_names import command_name, origin, typed_name
from pipeline.printable import printable

OPTION = "--print-config"
HELP = "Print the options that count, and where each is from (command line, environment, file or default), as TOML; then end."


def effective(command: click.Command, name: str, arguments: Sequence[str], parent: click.Context) -> str:
    """What `command` would go by with these `arguments`; INPUT may be left out. Raises what it would raise itself."""
    import tomlkit

    command = copy.copy(command)
    command.params = [_optional(param) for param in command.params]
    with command.make_context(name, list(arguments), parent=parent) as context:
        typed = command.make_parser(context).parse_args(list(arguments))[0]
        document, table = tomlkit.document(), tomlkit.table()
        document.add(tomlkit.comment(f"{context.command_path}: the options that count, and where each is from"))
        for param in command.params:
            value, shown = _values(param, typed, context)
            if isinstance(param, click.Argument):
                document.add(tomlkit.comment(f"{param.human_readable_name} {printable(shown or 'not given')}"))
            elif typed_name(param) in NOT_IN_A_FILE:
                continue
            elif value is None:
                table.add(tomlkit.comment(f"{typed_name(param)} is not set"))
            elif value != shown:  # a mask must not be taken for a value
                line = tomlkit.item(shown).as_string()
                table.add(tomlkit.comment(f"{typed_name(param)} = {line}  # masked, {printable(origin(context, param))}"))
            else:
                item = tomlkit.item(value)
                item.comment(printable(origin(context, param)))
                table.add(typed_name(param), item)
        document.add(command_name(context), table)
    return tomlkit.dumps(document).rstrip()


def _optional(param: click.Parameter) -> click.Parameter:
    param = copy.copy(param)
    param.required = False
    return param


def _values(param: click.Parameter, typed: Mapping[str, Any], context: click.Context) -> tuple[Any, Any]:
    """As TOML holds it, and as it may be shown; None where there is none."""
    value, _ = param.consume_value(context, typed)
    if not isinstance(value, str | bool | int | float | Path | list | tuple):
        return None, None
    value = param.type_cast_value(context, value)
    if isinstance(value, list | tuple):
        texts = [str(one) if isinstance(one, Path) else one for one in value]
        return texts, [_shown(param, one) for one in texts]
    value = str(value) if isinstance(value, Path) else value
    return value, _shown(param, value)


def _shown(param: click.Parameter, value: Any) -> Any:
    """Without secrets: of --engine-option KEY=VALUE and its like, the value of a KEY that is called like one."""
    if not isinstance(value, str):
        return value
    key, is_pair, _ = value.partition("=")
    if is_pair and is_secret(key) and "://" not in key:
        return f"{key}={MASK}"
    return MASK if is_secret(typed_name(param)) else masked(value)
