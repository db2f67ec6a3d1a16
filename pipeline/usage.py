"""How a store was used: a line per run, for the person who asks whether it earns its space."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

USAGE = "usage.jsonl"


@dataclass
class Counts:
    """Of one run: keys looked up, answers served and added, processor seconds inside the store."""

    looked_up: int = 0
    served: int = 0
    added: int = 0
    cpu_s: float = 0.0


def note(folder: Path, counts: Counts) -> None:
    """Appends a run's line; runs that end at the same moment do not mix. A line that cannot be written is no reason to fail."""
    if counts.looked_up:
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="seconds"), **asdict(counts)}) + "\n"
        with suppress(OSError), (folder / USAGE).open("ab", buffering=0) as file:
            file.write(line.encode())


def noted(folder: Path) -> list[dict[str, Any]]:
    """Lines of all runs, oldest first; torn ones are left out."""
    lines = []
    with suppress(OSError):
        for line in (folder / USAGE).read_bytes().splitlines():
            with suppress(ValueError):
                lines.append(json.loads(line))
    return lines
