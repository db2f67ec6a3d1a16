"""Templates to one HTML file that needs nothing beside it, and that runs nothing but what this package brings.

Every text is escaped where it is written, and what a reader's eye or terminal would act on becomes a sign. A policy in the page itself
allows its one style sheet and its one script, by their digests, and nothing else: no address, no other script, no style in an attribute.
A text that got through the escaping would still do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

from pipeline import durable
from pipeline.errors import BadConfiguration, BadData, cannot_write
from pipeline.object_store import put_object
from pipeline.places import Folder
from pipeline.printable import printable
from pipeline.report import formats

NEEDED = {"altair": "altair", "vl_convert": "vl-convert-python", "jinja2": "jinja2"}
"""Modules of the extra `report`, with their packages."""
FORMATS: Mapping[str, Callable[..., str]] = {
    one.__name__: one for one in (formats.number, formats.percent, formats.clock, formats.size, formats.day, formats.moment)
}


def check_installed() -> None:
    """Raises BadConfiguration where a package of the extra is missing."""
    if missing := [package for module, package in NEEDED.items() if find_spec(module) is None]:
        raise BadConfiguration(f"a report needs {' and '.join(missing)}; install the extra 'report'")


def render(template: str, **told: Any) -> str:
    """A page. Drawings among what is `told` are marked as such by `drawn`. Raises BadData where a manifest lacks what the page tells."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, UndefinedError

    loader = PackageLoader("pipeline.report")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, finalize=_shown, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(FORMATS)
    made.globals.update(plural=formats.plural)
    style, script = (_read(name) for name in ("page.css", "table.js"))
    policy = f"default-src 'none'; style-src {_digest(style)}; script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    try:
        return made.get_template(template).render(style=drawn(style), script=drawn(script), policy=drawn(policy), **told)
    except UndefinedError as error:
        raise BadData(f"the manifest is of another version ({printable(error)}); analyse again") from None


def drawn(text: str) -> Any:
    """Markup that this package made itself."""
    from markupsafe import Markup

    return Markup(text)


def write(path: Folder, page: str) -> Folder:
    """Whole or not at all; returns the path. Raises TryAgain where the disk is full or a store does not answer, BadConfiguration where it
    cannot be written there."""
    content = page.encode("utf-8", errors="replace")
    if isinstance(path, str):
        put_object(path, content, "text/html; charset=utf-8")
        return path
    try:
        durable.write(path, content)
    except OSError as error:
        raise cannot_write(f"{printable(path)}: the report cannot be written there", error, "choose another file with --html") from None
    return path


def _shown(value: Any) -> Any:
    return formats.NOTHING if value is None else value if hasattr(value, "__html__") else formats.plain(value)


def _read(name: str) -> str:
    return (files("pipeline.report") / "templates" / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a policy names what it allows (W3C, Content Security Policy Level 3, hash-source)."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
