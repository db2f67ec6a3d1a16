"""Cost models of earlier runs, kept beside the answers: one per model, settings and device.

A store that machines of different speed share has one model for all of them, which follows whoever ran last and says by its error that it
does not fit; give each kind of machine a store of its own where predictions matter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.costs import CostModel
from pipeline.digest import digest
from pipeline.runtime import Runtime

COSTS, SET_ASIDE = "costs", "damaged"
VERSION = 1
"""Of a file's form. Files of other versions belong to other releases of this program and are left alone."""


def name_of(runtime: Runtime) -> str:
    """Under which a runtime's costs are kept: another model, setting or device costs something else."""
    return digest([runtime.identity, dict(runtime.machine.settings)])[:16]


def known(folder: Path | None, name: str, warn: Callable[[str], None] = lambda _: None) -> CostModel | None:
    """What runs on this store have measured, None before the first. A damaged file is set aside with a warning; it costs predictions."""
    if folder is None:
        return None
    path = _path(folder, name)
    try:
        return _read(json.loads(path.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        warn(f"{path}: is damaged ({durable.first_line(error)}) and was set aside; costs are measured anew")
        with suppress(OSError):  # a store that cannot be written keeps it
            (path.parent / SET_ASIDE).mkdir(exist_ok=True)
            path.replace(path.parent / SET_ASIDE / path.name)
        return None


def keep(folder: Path, name: str, model: CostModel, about: dict[str, Any], warn: Callable[[str], None] = lambda _: None) -> None:
    """Writes a model whole or not at all; `about` is for people. Of two runs that end at once the later counts. Where it cannot be written,
    a warning: no result depends on it."""
    path = _path(folder, name)
    tokens = [{"task": task, "stage": stage, "tokens": found} for (task, stage), found in sorted(model.output_tokens.items())]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = {"written_at": datetime.now(UTC).isoformat(timespec="seconds"), **about}
        durable.write_json(path, {**asdict(model), "output_tokens": tokens, **written})
    except OSError as error:
        warn(f"{path}: costs could not be kept ({durable.first_line(error)})")


def _path(folder: Path, name: str) -> Path:
    return folder / COSTS / f"v{VERSION}-{name}.json"


def _read(found: dict[str, Any]) -> CostModel:
    """Raises ValueError, TypeError, KeyError for what was never written."""
    step_s, prefill_s, decode_s = (float(found[name]) for name in ("step_s", "prefill_s", "decode_s"))
    tokens = {(str(one["task"]), str(one["stage"])): float(one["tokens"]) for one in found["output_tokens"]}
    steps, error = int(found["steps"]), None if found["error"] is None else float(found["error"])
    if not all(0 <= number < math.inf for number in (step_s, prefill_s, decode_s, *tokens.values(), steps, error or 0.0)):
        raise ValueError("a number below 0 or without bound")
    return CostModel(step_s, prefill_s, decode_s, tokens, steps, error)
