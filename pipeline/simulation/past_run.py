"""A committed run as a workload: exact tokens and stages, and when each answer was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PolarsError

from pipeline.costs import CostModel, assumed
from pipeline.engine_settings import Feed, block_size, settings
from pipeline.errors import BadData, JobError, NoInput
from pipeline.groups import group
from pipeline.measured_costs import answer_tokens, asked_of_engine
from pipeline.order import prefill_cost
from pipeline.priorities import Priorities
from pipeline.records import Request, Restaurant, Sampling
from pipeline.results import committed
from pipeline.reviews import Selection, read
from pipeline.simulation.assembled import assembled
from pipeline.simulation.deduced import Row, deduced
from pipeline.simulation.workload import Ask, Bundle, Bundles, blank
from pipeline.tables import Results, scan
from pipeline.timeline import Timeline, measured_timeline

Warn = Callable[[str], None]
ANY_SIZE = 1 << 62
"""Bytes: the dump has been read once."""


@dataclass(frozen=True, slots=True)
class PastRun:
    """`workload`: what it asked an engine, answers from the store left out; `timeline`: how that went. `options`: of its engine,
    `kv_blocks`: of its KV cache, None where it does not say. `rates`: what it knew of costs when it ended. `priorities`: who went first and
    how long others could wait; its deadlines count from its first request, at `began`. `arrivals_known`: whether its dump could be read
    again; else restaurants arrive by id."""

    run_id: str
    order: str
    feed: Feed
    device: str
    options: Mapping[str, Any]
    kv_blocks: int | None
    model: str
    workload: Bundles
    timeline: Timeline
    rates: CostModel
    priorities: Priorities
    began: datetime | None
    arrivals_known: bool = True


def read_past_run(output: Path, warn: Warn) -> PastRun:
    """The committed run of an output folder of `analyze`. The order of arrival is read from its dump once more; where that has changed or
    is gone, restaurants arrive by id, with a warning. Raises NoInput, BadData, BadConfiguration."""
    found = committed(output)
    if found is None:
        raise NoInput(f"{output}: holds no committed run of analyze")
    folder, manifest = found
    if shards := manifest.get("shards"):
        raise BadData(f"{folder}: was merged of {shards['count']} shards, each on an engine of its own; compare a run of one engine")
    if workers := manifest.get("workers"):
        raise BadData(f"{folder}: was made by {workers['count']} workers, each with an engine of its own; compare a run of one engine")
    try:
        tables = _without_queries(_with_first_tokens(_everything(folder)))
        asked = asked_of_engine(tables.requests).sort("position")
        columns = ("restaurant_id", "task", "stage", "prompt_tokens", "cached_tokens", "output_tokens")
        rows = [Row(*row) for row in asked.filter(asked["status"] != "failed").select(columns).iter_rows()]
    except (OSError, PolarsError) as error:
        raise BadData(f"{folder}: its tables cannot be read ({str(error)[:120]})") from None
    if not rows:
        raise BadData(f"{folder}: this run asked nothing of an engine; compare one that did")
    names = sorted({row.restaurant_id for row in rows})
    known = _arrivals(manifest, names, warn)
    arrivals = {name: place for place, name in enumerate([*(known or ()), *sorted(set(names) - set(known or ()))])}
    peers = dict(tables.restaurants.select("restaurant_id", "peers").drop_nulls().iter_rows())
    workload = assembled(_asks(rows), [Restaurant(name, (), arrival=place) for name, place in arrivals.items()], peers)
    machine = manifest["settings"]
    options = settings(machine["device"], machine["engine_options"])
    workload = Bundles([_estimated(one, block_size(options)) for one in workload.bundles])
    return PastRun(
        str(manifest["run_id"]),
        str(manifest["order"]),
        machine["feed"],
        machine["device"],
        options,
        machine.get("kv_blocks"),
        str(manifest["model"]),
        workload,
        measured_timeline(tables, workload, None),
        _rates(manifest, asked),
        _priorities(manifest, tables.restaurants),
        datetime.fromisoformat(manifest["first_request"]) if manifest.get("first_request") else None,
        known is not None,
    )


def _everything(folder: Path) -> Results:
    """A run's tables, its requests among them."""
    return replace(Results.read(folder), requests=scan(folder, "requests").collect())


def _with_first_tokens(tables: Results) -> Results:
    """Runs of before that column was there."""
    if "first_token_s" in tables.requests.columns:
        return tables
    return replace(tables, requests=tables.requests.with_columns(first_token_s=pl.col("queue_s") + pl.col("prefill_s")))


def _without_queries(tables: Results) -> Results:
    """Search queries that the run expanded beside its restaurants have no place among them."""
    return replace(tables, requests=tables.requests.filter(pl.col("task") != "query_expansion"))


def _asks(rows: list[Row]) -> list[Ask]:
    asks = []
    for number, (row, part) in enumerate(zip(rows, deduced(rows), strict=True)):
        task: Any = row.task
        common = sum(tokens for piece, tokens in part.shared if piece >= 0)
        prompt, name = blank(row.prompt_tokens), row.restaurant_id
        request = Request(str(number), task, row.stage, name, prompt, Sampling(1), part.chunk, part.common, common)
        asks.append(Ask(request, row.output_tokens, part.shared))
    return asks


def _estimated(bundle: Bundle, block_size: int | None) -> Bundle:
    """With what its first stages cost as the estimate, by which restaurants enter; the run's own estimate is not kept."""
    first = (ask.request for stage in bundle.stages if not stage.after and not stage.compares for ask in stage.asks)
    return replace(bundle, restaurant=replace(bundle.restaurant, estimate=prefill_cost(first, block_size)))


def _arrivals(manifest: Mapping[str, Any], names: list[str], warn: Warn) -> list[str] | None:
    """Those of these restaurants that are in the dump, in its order; None where it cannot be read again."""
    try:
        inputs = [one for one in manifest["inputs"] if one.get("holds") != "queries"]
        dump = read([one["path"] for one in inputs], manifest["columns"], _selection(manifest["selection"]), ANY_SIZE)
        if {(one.digest, one.e_tag) for one in dump.files} != {(one["digest"], one.get("e_tag")) for one in inputs}:
            raise BadData("it has changed since")
        table = group(dump).table.sort("arrival")
        asked = set(names)
        return [name for name in table["restaurant_id"] if name in asked]
    except (JobError, KeyError, TypeError, ValueError) as error:
        warn(f"the dump of this run cannot be read again ({error}); restaurants are taken to arrive by id")
        return None


def _selection(chosen: Mapping[str, Any]) -> Selection:
    since, until = (datetime.fromisoformat(one) if one else None for one in (chosen["since"], chosen["until"]))
    return Selection(tuple(chosen["restaurants"]), since, until, chosen["limit"])


def _priorities(manifest: Mapping[str, Any], restaurants: pl.DataFrame) -> Priorities:
    deadlines = dict(restaurants.select("restaurant_id", "deadline").drop_nulls().iter_rows()) if manifest.get("first_request") else {}
    return Priorities(frozenset(manifest.get("urgent") or ()), deadlines, manifest.get("max_overtake"))


def _rates(manifest: Mapping[str, Any], asked: pl.DataFrame) -> CostModel:
    """What the run knew of its engine when it ended, with the lengths of its own answers."""
    kept = manifest.get("costs", {}).get("model", {}).get("after", {})
    if not kept.get("steps"):
        return replace(assumed(manifest["settings"]["device"]), output_tokens=answer_tokens(asked))
    return CostModel(kept["step_s"], kept["prefill_s"], kept["decode_s"], answer_tokens(asked), kept["steps"], kept["error"])
