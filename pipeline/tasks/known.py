"""The tasks there are: every file beside this one that has a `KIND`. A file more is a task more."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType

from pipeline import tasks
from pipeline.tasks.kind import TaskKind


def _found() -> Mapping[str, TaskKind]:
    modules = [import_module(f"{tasks.__name__}.{one.name}") for one in iter_modules(tasks.__path__) if one.name != "known"]
    kinds = [module.KIND for module in modules if hasattr(module, "KIND")]
    return MappingProxyType({kind.name: kind for kind in sorted(kinds, key=lambda kind: (kind.rank, kind.name))})


KINDS = _found()
"""By name, in the order of their ranks."""
TASKS = tuple(name for name, kind in KINDS.items() if kind.of_restaurants)
"""Those of restaurants."""
