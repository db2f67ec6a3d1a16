"""What an evaluation leaves in its folder: the figures and a picture of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.evaluation.plot import draw_plot

JSON, PLOT = "evaluation.json", "evaluation.png"


def check(folder: Path | None, tasks: Collection[str]) -> None:
    """Finds out before a model is loaded whether the figures can be computed and written. Raises BadConfiguration."""
    needed = {"rouge_score": "summary" in tasks, "matplotlib": folder is not None}
    missing = [name for name, wanted in needed.items() if wanted and find_spec(name) is None]
    if missing:
        raise BadConfiguration(f"{' and '.join(missing)} cannot be imported; run `make setup`, or install the extra 'evaluate'")
    if folder is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfiguration(f"{folder}: cannot be written ({error.strerror}); choose another --output") from None


def write(folder: Path, found: Mapping[str, Any]) -> Path:
    """The path of the figures; the picture beside it. Raises TryAgain where they cannot be written."""
    try:
        durable.write_json(folder / JSON, found)
        durable.write(folder / PLOT, draw_plot(found))
    except OSError as error:
        raise TryAgain(f"{folder}: the evaluation could not be written ({durable.first_line(error)}); make room and run again") from None
    return folder / JSON
