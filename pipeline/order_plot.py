"""Restaurants completed over time, one line per order."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

WIDTH, HEIGHT, DPI = 9.2, 5.2, 120
INK, FAINT = "#333333", "#e6e8eb"
COLOURS = ("#2f6d9e", "#d98b3a", "#4b8f6b", "#a4527a", "#7a6cb0", "#8a7a5c", "#5b6770", "#c0504d")
UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
ENOUGH = 3.0
"""A unit is taken when the time has at least so many of it."""


def draw_orders(title: str, measured: Mapping[str, pl.Series], predicted: Mapping[str, pl.Series]) -> bytes:
    """A PNG. By order the seconds at which restaurants were complete; measured lines are solid, predicted ones beside them dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    names = list(dict.fromkeys([*measured, *predicted]))
    last = max((float(one[-1]) for one in _sorted([*measured.values(), *predicted.values()])), default=1.0)
    size, unit = next(((size, unit) for size, unit in UNITS if last >= ENOUGH * size), UNITS[-1])
    for name, colour in zip(names, (COLOURS * len(names))[: len(names)], strict=False):
        for by, style in ((measured, "-"), (predicted, "--")):
            if name in by and len(by[name]):
                _line(axes, by[name], size, colour, style, name if by is measured or name not in measured else None)
    axes.set_title(title, fontsize=12, fontweight="bold", color=INK, loc="left")
    axes.set_xlabel(f"{unit} since the first request", fontsize=10, color=INK)
    axes.set_ylabel("restaurants complete", fontsize=10, color=INK)
    axes.set_xlim(0, last / size * 1.02)
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    for side in axes.spines.values():
        side.set_visible(False)
    if names:
        axes.legend(
            frameon=False, fontsize=9, loc="best", title="order, mean time to a complete restaurant", title_fontsize=9, alignment="left"
        )
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _sorted(times: Sequence[pl.Series]) -> list[pl.Series]:
    return [one.drop_nulls().sort() for one in times if len(one.drop_nulls())]


def _line(axes: Any, seconds: pl.Series, size: float, colour: str, style: str, name: str | None) -> None:
    times = seconds.drop_nulls().sort()
    label = None if name is None else f"{name}  {float(times.mean() or 0) / size:.3g}"  # type: ignore[arg-type]
    x = [0.0, *(times / size).to_list()]
    axes.step(x, range(len(x)), where="post", color=colour, linestyle=style, linewidth=1.8 if style == "-" else 1.3, label=label)
