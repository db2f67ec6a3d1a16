"""What `benchmark ways` found, as a text table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.order_table import aligned

Found = Mapping[str, Any]


def _number(places: int = 0, unit: float = 1.0) -> Callable[[Any], str]:
    return lambda value: "-" if value is None else f"{value / unit:,.{places}f}"


def _share(value: Any) -> str:
    return "-" if value is None else f"{value:.1%}"


ROWS: Sequence[tuple[str, Callable[[Found], Any], Callable[[Any], str]]] = (
    ("seconds to the last answer", lambda one: one["measured"]["seconds"], _number(1)),
    ("  least and most", lambda one: [run["seconds"] for run in one["runs"]], lambda runs: f"{min(runs):,.1f} to {max(runs):,.1f}"),
    ("  predicted before", lambda one: one["predicted_s"], _number(1)),
    ("pipeline is faster by", lambda one: one["faster"]["measured"], _number(2)),
    ("  predicted before", lambda one: one["faster"]["predicted"], _number(2)),
    ("times the floor", lambda one: one["of_floor"], _number(2)),
    ("mean s until complete", lambda one: one["measured"]["finished"]["mean"], _number(1)),
    ("requests", lambda one: one["measured"]["requests"], _number()),
    ("  a second", lambda one: one["measured"]["rates"]["requests"], _number(1)),
    ("prompt tokens/s computed", lambda one: one["measured"]["rates"]["computed_tokens"], _number()),
    ("prompt tokens/s effective", lambda one: one["measured"]["rates"]["prompt_tokens"], _number()),
    ("output tokens", lambda one: one["measured"]["output_tokens"], _number()),
    ("  a second", lambda one: one["measured"]["rates"]["output_tokens"], _number(1)),
    ("tokens from the cache", lambda one: one["measured"]["cached_share"], _share),
    ("  of a perfect cache's", lambda one: one["measured"]["of_perfect_cache"], _share),
    ("time outside the engine", lambda one: one["measured"]["outside_step"], _share),
    ("steps with idle slots", lambda one: one["measured"]["idle_slots"], _share),
    ("peak memory, MiB", lambda one: one["measured"]["peak_bytes"], _number(0, 1 << 20)),
    ("  more than before", lambda one: one["measured"]["more_bytes"], _number(0, 1 << 20)),
)
QUALITY: Sequence[tuple[str, Callable[[Found], Any], Callable[[Any], str]]] = (
    ("labels agree with ratings", lambda one: one["quality"]["rating_agreement"], _share),
    ("sentences supported", lambda one: one["quality"]["supported"], _share),
    ("  by other restaurants", lambda one: one["quality"]["supported_elsewhere"], _share),
    ("restaurants with strengths", lambda one: one["quality"]["with_strengths"], _number()),
    ("answers failed or cut off", lambda one: one["quality"]["failed"] + one["quality"]["cut_off"], _number()),
)
"""On made-up reviews these say nothing, and are left out."""


def page(found: Found) -> str:
    """What `bench.json` holds, for a terminal."""
    ways, rows = found["ways"], [*ROWS, *(() if found["made_up"] else QUALITY)]
    table = [("", *ways), *((title, *(shown(value(one)) for one in ways.values())) for title, value, shown in rows)]
    ceilings = found["ceilings"]
    machine = f"{ceilings['operations_s'] / 1e9:,.0f} GFLOP/s and {ceilings['bytes_s'] / 1e9:,.1f} GB/s"
    tokens = f"{found['unique_tokens']:,} prompt tokens that no cache can serve, and all answers"
    floor = "floor: not known for this model"
    if found["floor_s"] is not None:
        floor = f"floor: {found['floor_s']:,.1f} s for {tokens}, on a machine of {machine}"
    memory = "memory: of this process, with all that this benchmark keeps of a run"
    predicted = "predicted before any way was measured, by simulation: rates from other restaurants, requests from a run of the pipeline"
    return "\n\n".join([found["about"], aligned(table), f"{floor}\n{predicted}\n{memory}"])
