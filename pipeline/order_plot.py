"""Restaurants completed over time, one line per order."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

import polars as pl

WIDTH, HEIGHT, DPI = 9.2, 5.2, 120
INK, FAINT = "#333333", "#e6e8eb"
COLOURS = ("#2f6d9e", "#d98b3a", "#4b8f6b", "#a4527a", "#7a6cb0", "#8a7a5c", "#5b6770", "#c0504d")
UNITS = ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"))
SOLID: Mapping[str, Any] = {"linestyle": "-", "linewidth": 1.9}
DASHED: Mapping[str, Any] = {"linestyle": (0, (4, 2)), "linewidth": 1.2}
ENOUGH = 3.0
"""A unit is taken when the time has at least so many of it."""


def draw_orders(title: str, measured: Mapping[str, pl.Series], predicted: Mapping[str, pl.Series]) -> bytes:
    """A PNG. By order the seconds at which restaurants were complete; measured lines are solid, predicted ones beside them dashed."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    times = {name: _complete((measured if name in measured else predicted)[name]) for name in [*measured, *predicted]}
    beside = {name: _complete(predicted[name]) for name in predicted if name in measured}
    last = max((one[-1] for one in (*times.values(), *beside.values()) if one), default=1.0)
    size, unit = next(((size, unit) for size, unit in UNITS if last >= ENOUGH * size), UNITS[-1])
    colours = dict(zip(times, (COLOURS * len(times))[: len(times)], strict=False))
    for name in sorted((name for name in times if times[name]), key=lambda name: mean(times[name])):
        solid = name in measured or not measured
        label = f"{name}: {mean(times[name]) / size:.2f}{'' if solid else ' (predicted)'}"
        _line(axes, times[name], size, colour=colours[name], label=label, **(SOLID if solid else DASHED))
        if name in beside:
            _line(axes, beside[name], size, colour=colours[name], **DASHED)
    axes.set_title(title, fontsize=12, fontweight="bold", color=INK, loc="left", pad=12)
    axes.set_xlabel(f"{unit} since the first request" + ("; dashed: predicted by simulation" if measured and predicted else ""), color=INK)
    axes.set_ylabel("restaurants complete", color=INK)
    axes.set_xlim(0, last / size * 1.02)
    axes.set_ylim(bottom=0)
    axes.grid(color=FAINT)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, labelsize=9)
    for side in axes.spines.values():
        side.set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        where = "upper left" if _early(times.values(), last) < 0.25 else "lower right"
        axes.legend(loc=where, frameon=False, fontsize=9, title=f"mean {unit} until complete", title_fontsize=9, alignment="left")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _complete(seconds: pl.Series) -> list[float]:
    return seconds.drop_nulls().sort().to_list()


def _early(times: Iterable[Sequence[float]], last: float) -> float:
    """Largest share of a line that lies where a legend would cover it, in the first third of the time."""
    return max((sum(second < last / 3 for second in one) / len(one) for one in times if one), default=0.0)


def _line(axes: Any, seconds: Sequence[float], size: float, **style: Any) -> None:
    x = [0.0, *(second / size for second in seconds)]
    axes.step(x, range(len(x)), where="post", color=style.pop("colour"), **style)
