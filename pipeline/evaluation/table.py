"""The figures as a page for a terminal of 100 columns: what `evaluation.json` holds, nothing computed anew."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.evaluation.rouge import KINDS
from pipeline.evaluation.sentiment import ANSWERS, LANGUAGES

Figures = Mapping[str, Any]
INDENT = "  "
MARGIN = " " * 13
WIDTH = 100


def page(found: Figures) -> str:
    """The whole evaluation, a block per subject."""
    blocks = [_head(found)]
    for name, block in (("sentiment", _sentiment), ("summary", _summary), ("strengths", _strengths)):
        if name in found:
            blocks.append(block(found))
    return "\n\n".join([*blocks, _cost(found["cost"])])


def share(estimate: Figures) -> str:
    """A figure between 0 and 1 (a gap may be below 0) with its interval, where it has them."""
    if estimate["value"] is None:
        return "-"
    interval = "" if estimate["low"] is None else f" [{point(estimate['low'], 2)}, {point(estimate['high'], 2)}]"
    return point(estimate["value"]) + interval


def point(value: float | None, places: int = 3) -> str:
    """Without the zero before the point, as tables of statistics have them."""
    return "-" if value is None else re.sub(r"^(-?)0\.", r"\1.", f"{value:z.{places}f}")


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as lines: the first column to the left, the others to the right."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))] for row in rows)
    return "\n".join((INDENT + INDENT.join(line)).rstrip() for line in lines)


def listed(counts: Mapping[str, int]) -> str:
    """Counts on one line."""
    return ", ".join(f"{number:,} {name.replace('_', ' ')}" for name, number in counts.items()) or "none"


def _head(found: Figures) -> str:
    fits = [
        f"{LANGUAGES.get(language, language)} {one['anchors']} {one['source']}, area under the curve {point(one['auc'])}"
        + ("" if one["readable"] else ": not read by this model")
        for language, one in found["calibration"].items()
    ]
    brackets = "in brackets  95 % intervals over restaurants"
    return "\n".join(
        [f"model        {found['model']}", brackets, *(f"{'' if i else 'calibration':<12} {fit}" for i, fit in enumerate(fits))]
    )


def _sentiment(found: Figures) -> str:
    figures = found["sentiment"]
    rows: list[tuple[str, ...]] = [("", "reviews", "accuracy", "balanced accuracy", "area under curve")]
    for name, part in (("all", figures["all"]), *figures["by_language"].items(), *figures["by_length"].items()):
        shares = [share(part[column]) for column in ("accuracy", "balanced_accuracy", "area_under_curve")]
        rows.append((name, f"{part['reviews']:,}", *shares))
    most = figures["all"]["majority_class"]
    rows.append((f"always {most['label']}", rows[1][1], point(most["accuracy"]), point(0.5), point(0.5)))
    counted = [(f"{truth} is labelled", *(f"{by[answer]:,}" for answer in ANSWERS)) for truth, by in figures["confusion"].items()]
    return "\n".join(
        [
            f"sentiment    {figures['all']['reviews']:,} reviews of {figures['all']['restaurants']:,} restaurants",
            f"{MARGIN}{figures['truth']}",
            f"{MARGIN}a label that is neutral or missing counts as wrong",
            aligned(rows),
            "",
            aligned([("", *ANSWERS), *counted]),
        ]
    )


def _summary(found: Figures) -> str:
    figures, texts = found["summary"], found["texts"]
    rows: list[tuple[str, ...]] = [("ROUGE as F1", "summary", "random review", "gap")]
    left_out = figures["left_out_reviews"]
    rows += [(f"{KINDS[kind]} with left-out reviews", *_compared(left_out[kind])) for kind in KINDS]
    if figures["references"]:
        rows += [(f"{KINDS[kind]} with reference summaries", *_compared(figures["references"][kind])) for kind in KINDS]
    return "\n".join(
        [
            f"summary      {figures['restaurants']:,} restaurants, {texts['reviews_put_in']:,} reviews put in, "
            f"{texts['left_out_percent']} % of each restaurant's left out",
            f"{MARGIN}{listed(figures['kinds'])}; {figures['empty']:,} empty",
            *_failed(figures["failed"]),
            f"{MARGIN}{figures['generated_sentences']:,} sentences generated, {figures['published_sentences']:,} published, "
            f"{figures['broken_citations']:,} broken citations",
            f"{MARGIN}answers: {listed(figures['answers'])}",
            aligned(_supports({"generated sentences": figures["support"], "a random review's": figures["random_review_support"]})),
            "",
            aligned(rows),
        ]
    )


def _strengths(found: Figures) -> str:
    figures = found["strengths"]
    behind, ten = figures["reviews_behind"], figures["with_ten_positive"]
    lines = [
        f"strengths    {figures['restaurants']:,} restaurants, of which {share(figures['with_strength'])} have one at least",
        *_failed(figures["failed"]),
        f"{MARGIN}{figures['strengths']:,} strengths, {figures['per_restaurant']:.1f} per restaurant, "
        f"{figures['dropped_claims']:,} claims dropped, {figures['broken_citations']:,} broken citations",
    ]
    if behind:
        lines.append(f"{MARGIN}reviews behind one: {behind['mean']:.1f} on average, median {behind['median']:g}")
    if ten["restaurants"]:
        lines.append(
            f"{MARGIN}of {ten['restaurants']:,} restaurants with ten reviews above 3 stars, {point(ten['with_strength'])} have one"
        )
    return "\n".join([*lines, f"{MARGIN}answers: {listed(figures['answers'])}", aligned(_supports({"claims": figures["support"]}))])


def _supports(rows: Mapping[str, Figures]) -> list[tuple[str, ...]]:
    return [
        ("supported by reviews of", "sentences", "the restaurant", "others", "gap"),
        *((name, f"{one['sentences']:,}", *(share(one[side]) for side in ("own", "others", "gap"))) for name, one in rows.items()),
    ]


def _compared(figures: Figures) -> tuple[str, ...]:
    return tuple(share(figures[name]) for name in ("summary", "random_review", "gap"))


def _failed(reasons: Mapping[str, int]) -> list[str]:
    return [
        MARGIN + textwrap.shorten(f"{number:,} failed: {reason}", WIDTH - len(MARGIN), placeholder="...")
        for reason, number in reasons.items()
    ]


def _cost(passes: Mapping[str, Figures]) -> str:
    rows: list[tuple[str, ...]] = [("", "requests", "a second", "seconds", "prompt tokens", "from cache", "output tokens")]
    for name, one in passes.items():
        cached = "-" if one["cached_share"] is None else f"{one['cached_share']:.0%}"
        counts = (f"{one['requests']:,}", f"{one['requests_per_second']:.1f}", f"{one['seconds']:,.1f}", f"{one['prompt_tokens']:,}")
        rows.append((name, *counts, cached, f"{one['output_tokens']:,}"))
        if each := one.get("per_restaurant"):
            counts = ("", "", f"{each['seconds']:.2f}", f"{each['prompt_tokens']:,.0f}")
            rows.append((f"{INDENT}of {one['restaurants']:,} restaurants, each", *counts, "", f"{each['output_tokens']:,.0f}"))
    return "\n".join(["cost         without loading and calibration", aligned(rows)])
