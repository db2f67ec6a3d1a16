"""The page about one run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pipeline.analysis import Committed
from pipeline.places import Folder, inside
from pipeline.report import charts, page
from pipeline.report.entries import entries
from pipeline.report.figures import BINS, FEW, Figures, figures
from pipeline.report.notable import MOST_SHOWN, choose
from pipeline.report.opened import readable
from pipeline.report.spent import Spent, spent

REPORT = "report.html"
FLAGS = {
    "no_label": "the model could not tell, or does not read the language",
    "duplicate": "says what another review of the restaurant says, letter for letter",
    "truncated": "longer than a prompt; its end was read",
    "control_tokens": "holds strings that steer a model; neutralised",
    "control_characters": "holds characters that steer a terminal",
    "instruction_like": "speaks to a model instead of about a meal",
}
"""What a review's flag means."""
SINCE: Mapping[str, Any] = {
    "rating_agreement": None,
    "service_levels": [],
    "deadlines": None,
    "updated": None,
    "urgent": [],
    "calibration": {},
}
"""Entries that manifests of earlier versions do not have."""


def write_report(run: Committed, path: Path | None = None, most: int = MOST_SHOWN) -> Folder:
    """Writes the page into the run's folder, or to `path`; returns where it is. At most so many restaurants are shown.

    Raises BadConfiguration where a package is missing or nothing can be written there, BadData where the run's tables cannot be read,
    TryAgain where the disk is full.
    """
    page.check_installed()
    with readable(run):
        chosen = choose(run, most)
        shown, no_texts = entries(run, chosen)
        found = figures(run)
    spending = spent(run.manifest)
    told = page.render(
        "run.html",
        manifest={**SINCE, **run.manifest},
        entries=shown,
        chosen=chosen,
        no_texts=no_texts,
        figures=found,
        flags=FLAGS,
        few=FEW,
        spent=spending,
        drawings={name: page.drawn(drawing) for name, drawing in _drawings(found, spending)},
    )
    return page.write(path or inside(run.folder, REPORT), told)


def _drawings(found: Figures, spending: Spent) -> Iterator[tuple[str, str]]:
    """Those that there is something to draw for."""
    if found.shares:
        yield "shares", charts.share_chart(found.shares, 1 / BINS)
    if found.rated:
        yield "ratings", charts.rating_chart(found.rated)
    lines: Mapping[str, Any] = {"own answers": found.completed, "comparison too": found.compared}
    if lines := {name: points for name, points in lines.items() if points}:
        yield "completed", charts.time_chart(lines)
    if spending.whole_tasks:
        yield "tokens", charts.token_chart(spending.whole_tasks)
    if spending.phases:
        yield "phases", charts.phase_chart(spending.phases)
