"""A run in a process of its own that can be made to die: the real command, with an engine without a model behind it."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Script:
    """What one process does. `asked`: file that gets a line for every answer, before the run has it. `said`: stdout and stderr.

    `step_s`: seconds of one step of the engine, `abort_s` of stopping it. `die_at`: number of the step `within` the commit, the store's
    merge, or the removal of merged shards, before which the process gets the signal `by`; `steps`: file that gets the names of all steps.
    `patches`: values of the product's constants; `environment`: variables.
    """

    arguments: Sequence[str]
    asked: Path
    said: Path
    step_s: float = 0.0
    abort_s: float = 0.0
    die_at: int | None = None
    by: int = 9
    steps: Path | None = None
    within: str = "commit"
    patches: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def play(script: Script) -> None:
    """The body of the process, which leads a process group of its own, as a scheduler's job does."""
    os.setsid()
    os.environ.update(script.environment)
    said = os.open(script.said, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(said, 1)
    os.dup2(said, 2)
    import warm
    from logged_machine import LoggedMachine
    from steps import Steps

    from jobs import __main__
    from pipeline import api, runtime
    from pipeline.tasks import sentiment
    from pipeline.tasks.calibration import Fit

    runtime.Tokens = lambda folder: warm.TOKENS
    sentiment.fit = lambda raw: {language: Fit(1.0, 0.0, 0.95, 0.9, len(raw)) for language in ("en", "ko")}
    api.local_machine = lambda *_: LoggedMachine(warm.MODEL, script.asked, script.step_s, script.abort_s)
    for name, value in script.patches.items():
        module, _, constant = name.rpartition(".")
        setattr(importlib.import_module(module), constant, value)
    if script.die_at is not None or script.steps:
        Steps(script.die_at, script.by, script.steps).watch(script.within)
    sys.argv = ["jobs", *script.arguments]
    __main__.main()


def watch(base: Path, report: Path) -> None:
    """The body of the reader's process: reads the newest outputs under `base` again and again and writes down what it saw."""
    from views import read_run, resolve

    parent, seen = os.getppid(), set()
    with report.open("a", buffering=1) as file:
        while os.getppid() == parent:
            began = time.monotonic()
            for pointer in sorted(base.glob("[0-9]*/out/current.json"))[-4:]:
                try:
                    folder = resolve(pointer)
                    read_run(folder)
                    line = f"seen {pointer.parent} {folder.name}\n"
                except Exception as error:  # whatever a reader would stumble over
                    line = f"broken {pointer.parent} {type(error).__name__}: {str(error)[:300]!r}\n"
                if line not in seen:
                    seen.add(line)
                    file.write(line)
            time.sleep(3 * (time.monotonic() - began))  # a quarter of the time, so that the runs get on
