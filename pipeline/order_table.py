"""The comparison of orders as a text table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.printable import printable

Found = Mapping[str, Any]
COLUMNS = ("order", "total", "mean", "median", "p95", "compared", "computed", "cached", "overtaken", "tokens later")
NAME = 24
"""Characters of a restaurant's name."""


def page(found: Found) -> str:
    """What `compare.json` holds, for a terminal."""
    rows = [row for name, one in found["orders"].items() for row in _rows(name, one)]
    parts = [
        found["about"],
        aligned([COLUMNS, *rows]),
        "total: until the last answer. mean, median, p95: until a restaurant is complete; compared: mean with its comparison. Seconds.\n"
        "computed: prompt tokens that were computed; cached: share of the others. overtaken: the restaurant that began most prefill\n"
        "tokens later than first in, first out would have begun it.",
        *_by_size(found["orders"]),
        *_first_tokens(found["orders"]),
        *_levels(found["orders"]),
        *_answers(found["orders"]),
        *([found["prediction"]] if found.get("prediction") else []),
    ]
    return "\n\n".join(parts)


def _rows(name: str, one: Found) -> list[Sequence[str]]:
    rows = [_row(name, one["measured"])] if one.get("measured") else []
    if predicted := one.get("predicted"):
        label = "  predicted" if rows else name
        off = f" ({one['total_error']:+.0%})" if one.get("total_error") is not None else ""
        rows.append(_row(label, predicted, off))
    return rows


def _row(label: str, one: Found, off: str = "") -> Sequence[str]:
    overtaken = one["overtaken"]
    return (
        label,
        f"{_seconds(one['seconds'])}{off}",
        *(_seconds(one["finished"][name]) for name in ("mean", "median", "p95")),
        _seconds(one["compared"]["mean"]),
        f"{one['computed_tokens']:,}",
        "-" if one["cached_share"] is None else f"{one['cached_share']:.1%}",
        *((printable(overtaken["restaurant_id"], NAME), f"{overtaken['tokens']:,}") if overtaken else ("-", "0")),
    )


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 1000 else f"{value:,.1f}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """First column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(cell.ljust(width) if not i else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _best(one: Found) -> Found:
    """What was measured, where anything was."""
    found: Found = one.get("measured") or one["predicted"]
    return found


def _by_size(orders: Found) -> list[str]:
    """Who gains and who pays: a row per size of restaurant, a column per order."""
    names = list(orders)
    sizes = _best(orders[names[0]])["by_size"]
    rows = [("until complete (mean s)", *names)]
    rows += [(size, *(_seconds(_best(orders[name])["by_size"][size]) for name in names)) for size in sizes]
    return [aligned(rows) + "\nsmall, middle and large: thirds of the restaurants by their prefill tokens"]


def _first_tokens(orders: Found) -> list[str]:
    """Seconds to the first token: a row per task and size of restaurant, a column per order."""
    names = list(orders)
    tasks = {task: sizes for name in names for task, sizes in _best(orders[name])["first_token"].items()}
    rows = [("first token (median s)", *names)]
    for task, sizes in tasks.items():
        for size in sizes:
            cells = [_best(orders[name])["first_token"].get(task, {}).get(size) for name in names]
            rows.append((f"{task}, {size}", *("-" if cell is None else f"{cell:.2f}" for cell in cells)))
    return [aligned(rows) + "\nsince its submission to the engine"] if len(rows) > 1 else []


def _levels(orders: Found) -> list[str]:
    names = list(orders)
    levels = _best(orders[names[0]])["service_levels"]
    deadlines = [_best(orders[name])["deadlines"] for name in names]
    if not levels and not any(deadlines):
        return []
    rows = [("service level", *names)]
    if any(deadlines):
        rows.append(("deadlines met", *(f"{one['met']} of {one['met'] + one['missed']}" if one else "-" for one in deadlines)))
    for place, level in enumerate(levels):
        found = [_best(orders[name])["service_levels"][place] for name in names]
        rows.append(
            (
                f"{level['level']} {level['seconds']:g} s",
                *("-" if one["attainment"] is None else f"{one['attainment']:.0%}" for one in found),
            )
        )
        produced = ("restaurants", "requests", "tokens")
        rows += [(f"  {what}/min in time", *(_rate(one["goodput"][what]) for one in found)) for what in produced]
    return [aligned(rows)]


def _rate(a_second: float | None) -> str:
    return "-" if a_second is None else f"{60 * a_second:,.{0 if a_second >= 2 else 1}f}"


def _answers(orders: Found) -> list[str]:
    lines = [
        f"{name}: {one['answers']['changed']:,} of {one['answers']['compared']:,} answers differ from those of {one['answers']['than']}, "
        f"{one['answers']['elsewhere']:,} questions were asked by one of them only"
        for name, one in orders.items()
        if one.get("answers")
    ]
    return ["\n".join(lines)] if lines else []
