"""Values of a TOML file as options take them."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import Any

import click
from click.types import BoolParamType, FloatParamType, IntParamType, StringParamType


def fitting(option: click.Option, value: Any) -> Any:
    """The value, where it is of the option's kind; a moment or a number as it would be typed, where the option reads a text. Raises
    TypeError, which says what was expected and what was found, and never the value: it may be a secret."""
    if not option.multiple:
        return _single(option.type, value, "")
    if not isinstance(value, list):
        raise TypeError(f"has to be a list, an item for each time it would be typed; found {_kind_of(value)}")
    return [_single(option.type, one, "a list of which each is ") for one in value]


def _kind_of(value: Any) -> str:
    """What a value is in TOML."""
    kinds = {bool: "a boolean", int: "a whole number", float: "a number", str: "a text", list: "a list", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def _single(kind: click.ParamType[Any], value: Any, many: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(kind, BoolParamType):
        expected, fits = "true or false", isinstance(value, bool)
    elif isinstance(kind, IntParamType):
        expected, fits = "a whole number", is_number and isinstance(value, int)
    elif isinstance(kind, FloatParamType):
        expected, fits = "a number", is_number
    else:
        expected, fits = "a text in quotes", isinstance(value, str)
        if isinstance(kind, StringParamType) and not fits:
            if isinstance(value, date | datetime | time):
                return value.isoformat()
            if is_number:
                return str(value)
    if not fits:
        raise TypeError(f"has to be {many}{expected}, found {_kind_of(value)}")
    return value
