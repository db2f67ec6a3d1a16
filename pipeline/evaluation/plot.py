"""The figures as a picture: one panel per question that an evaluation answers."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipeline.evaluation.rouge import KINDS
from pipeline.evaluation.sentiment import ANSWERS

Figures = Mapping[str, Any]
Estimate = Mapping[str, float | None]
Draw = Callable[[Any], None]

WIDTH, HEIGHT, DPI = 6.4, 4.2, 110
"""Of a panel, in inches; dots per inch."""
MAIN, CONTROL, BASELINE, INK = "#2f6d9e", "#d98b3a", "#b9bfc6", "#333333"


def draw_plot(found: Figures) -> bytes:
    """A PNG. Drawn without a display and without matplotlib's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    panels = _panels(found)
    columns = min(len(panels), 2)
    spaced = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12, hspace=0.06, wspace=0.04)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(WIDTH * columns, HEIGHT * rows), dpi=DPI, layout=spaced, facecolor="white")
    FigureCanvasAgg(figure)
    for number, (title, draw) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        axes.set_title(title, fontsize=11, color=INK, loc="left")
        axes.tick_params(colors=INK, length=0, labelsize=9)
        for side in axes.spines.values():
            side.set_visible(False)
        draw(axes)
    figure.suptitle(f"{found['model']}, 95 % intervals over restaurants", fontsize=12, fontweight="bold", color=INK)
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return image.getvalue()


def _panels(found: Figures) -> dict[str, Draw]:
    panels: dict[str, Draw] = {}
    if "sentiment" in found:
        figures = found["sentiment"]
        panels["How reviews are labelled"] = lambda axes: _confusion(axes, figures["confusion"])
        panels["Balanced accuracy of labels"] = lambda axes: _by_group(axes, figures)
    supports = {
        name: found[task][key]
        for name, task, key in (
            ("generated\nsentences", "summary", "support"),
            ("a random\nreview's", "summary", "random_review_support"),
            ("claims of\nstrengths", "strengths", "support"),
        )
        if task in found and found[task][key]["own"]["value"] is not None
    }
    if supports:
        panels["Share of sentences that a review supports"] = lambda axes: _bars(
            axes, list(supports), {"of the restaurant": _column(supports, "own"), "of others": _column(supports, "others")}, (MAIN, CONTROL)
        )
    if "summary" in found and (likeness := found["summary"]["left_out_reviews"])["restaurants"]:
        kinds = {KINDS[kind]: likeness[kind] for kind in KINDS}
        panels["Likeness to left-out reviews (F1)"] = lambda axes: _bars(
            axes,
            list(kinds),
            {"the summary": _column(kinds, "summary"), "a random review": _column(kinds, "random_review")},
            (MAIN, BASELINE),
        )
    return panels or {"Nothing could be measured": lambda axes: axes.set_axis_off()}


def _confusion(axes: Any, counts: Mapping[str, Mapping[str, int]]) -> None:
    """Rows are truths; shades are shares of a row, numbers are counts."""
    shares = [[by[answer] / max(sum(by.values()), 1) for answer in ANSWERS] for by in counts.values()]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, (by, row) in enumerate(zip(counts.values(), shares, strict=True)):
        for x, answer in enumerate(ANSWERS):
            shade = "white" if row[x] > 0.55 else INK
            axes.text(x, y, f"{by[answer]:,}\n{row[x]:.0%}", ha="center", va="center", fontsize=9, color=shade)
    axes.set_xticks(range(len(ANSWERS)), ANSWERS)
    axes.set_yticks(range(len(counts)), list(counts))
    axes.set_xlabel("label", fontsize=9, color=INK)
    axes.set_ylabel("truth", fontsize=9, color=INK)


def _by_group(axes: Any, figures: Figures) -> None:
    """One line per group, best read from the top; a coin has 0.5."""
    groups = {"all": figures["all"], **figures["by_language"], **figures["by_length"]}
    names = [f"{name}\n{part['reviews']:,} reviews" for name, part in groups.items()]
    for y, part in enumerate(groups.values()):
        one = part["balanced_accuracy"]
        if one["value"] is not None:
            axes.errorbar(one["value"], y, xerr=_reach(one), fmt="o", color=MAIN, capsize=3, markersize=6)
            axes.annotate(f"{one['value']:.3f}", (one["value"], y), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.axvline(0.5, color=CONTROL, linewidth=1, linestyle="--")
    axes.annotate("one class for all", (0.5, len(groups) - 0.55), xytext=(4, 0), textcoords="offset points", fontsize=8, color=CONTROL)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(groups) - 0.4, -0.6)
    axes.set_xlim(min(0.45, *_lows(groups.values())), 1.02)
    axes.grid(axis="x", color="#e6e8eb")
    axes.set_axisbelow(True)


def _lows(groups: Any) -> list[float]:
    found = [part["balanced_accuracy"] for part in groups]
    return [0.45, *(value - 0.05 for one in found for value in (one["low"], one["value"]) if value is not None)]


def _bars(axes: Any, names: Sequence[str], sides: Mapping[str, Sequence[Estimate]], colours: Sequence[str]) -> None:
    """Two bars per name, with intervals."""
    width, highest = 0.36, 0.0
    for number, ((side, estimates), colour) in enumerate(zip(sides.items(), colours, strict=True)):
        where = [i + (number - 0.5) * width for i in range(len(names))]
        values = [one["value"] or 0.0 for one in estimates]
        reach = [[_reach(one)[end][0] for one in estimates] for end in (0, 1)]
        axes.bar(where, values, width * 0.94, yerr=reach, color=colour, label=side, error_kw={"ecolor": INK, "capsize": 3, "elinewidth": 1})
        for x, value, up in zip(where, values, reach[1], strict=True):
            highest = max(highest, value + up)
            axes.annotate(f"{value:.2f}", (x, value + up), xytext=(0, 3), textcoords="offset points", ha="center", fontsize=8, color=INK)
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(0, max(highest * 1.22, 0.05))
    axes.set_yticks([tick for tick in axes.get_yticks() if tick <= max(highest, 0.05) * 1.05])
    axes.grid(axis="y", color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9, loc="upper right", ncols=2)


def _column(rows: Mapping[str, Figures], name: str) -> list[Estimate]:
    return [row[name] for row in rows.values()]


def _reach(one: Estimate) -> list[list[float]]:
    """How far the interval reaches below and above the figure, as matplotlib's error bars have it; nothing where there is none."""
    value, low, high = one["value"], one["low"], one["high"]
    if value is None or low is None or high is None:
        return [[0.0], [0.0]]
    return [[max(value - low, 0.0)], [max(high - value, 0.0)]]
