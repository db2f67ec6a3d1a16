"""What a run cost and whether it kept its service levels, as lines of the closing table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MEANS = "mean s queue / prefill / decode"


def cost_lines(costs: Mapping[str, Any]) -> dict[str, str]:
    """Of a manifest's `costs`: a line per task, one about the prediction. None where nothing was asked."""
    tasks = [row for row in costs["tasks"] if row["stage"] is None]
    if not tasks:
        return {}
    rows = [("cost", "asked", MEANS, "first token s p50 / p95 / p99", "decode s p50 / p95 / p99", "engine s", "ms a token")]
    rows += [
        (
            f"  {_called(row['task'])}",
            f"{row['requests']:,}",
            " / ".join(_number(row[name]["mean"], 2) for name in ("queue_s", "prefill_s", "decode_s")),
            _spread(row["first_token_s"]),
            _spread(row["decode_s"]),
            _number(row["engine_s"], 1),
            _number(row["ms_per_token"], 2),
        )
        for row in tasks
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(1, len(rows[0]))]
    lines = {row[0]: "  ".join(text.rjust(width) for text, width in zip(row[1:], widths, strict=True)) for row in rows}
    return lines | _prediction(costs["model"])


def _prediction(model: Mapping[str, Any]) -> dict[str, str]:
    """How well the model of before knew what this run's steps would take."""
    if model["measured_s"] is None:
        return {}
    source = f"{model['before']['steps']:,} steps of earlier runs" if model["before"]["steps"] else "rates assumed for this kind of device"
    off = model["predicted_s"] - model["measured_s"]
    by = f"{model['relative_error']:.0%} too {'much' if off > 0 else 'little'}"
    return {"prediction": f"{model['predicted_s']:,.1f} s of engine for {model['measured_s']:,.1f} s, {by}, from {source}"}


def level_lines(levels: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Of a manifest's `service_levels`: one per level, in the order in which they were given."""
    lines = {}
    for level in levels:
        within = f"{level['seconds']:g} s: {level['met']:,} of {level['number']:,}"
        share = "" if level["attainment"] is None else f" ({level['attainment']:.0%})"
        parts = {name: one["attainment"] for name, one in level.get("tasks", {}).items()}
        tasks = "; " + ", ".join(f"{_called(name)} {part:.0%}" for name, part in parts.items()) if len(parts) > 1 else ""
        goodput = ", ".join(f"{_rate(rate)} {name}" for name, rate in level["goodput"].items())
        lines[level["level"]] = f"{within}{share}{tasks}; a second {goodput}"
    return lines


def _called(task: str) -> str:
    return {"query_expansion": "queries"}.get(task, task)


def _spread(seconds: Mapping[str, float | None]) -> str:
    return " / ".join(_number(seconds[name], 2) for name in ("p50", "p95", "p99"))


def _rate(value: float | None) -> str:
    """Three digits; a long run's restaurants come by hundredths a second, its tokens by hundreds."""
    return "-" if value is None else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
