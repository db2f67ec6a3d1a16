"""The page about what is different between two runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.analysis import Committed
from pipeline.places import Folder, inside
from pipeline.report import page
from pipeline.report.between import counted, differences
from pipeline.report.moved import Moved, compare, rows_by_id
from pipeline.report.opened import readable

CHANGES = "changes.html"
MOST_SHOWN = 250
"""Restaurants of a kind on the page, those that moved most."""
MOST_NAMED = 100
"""New restaurants, and those that are gone, that are named."""
Row = Mapping[str, Any]
Sides = tuple[Sequence[tuple[str, bool]], Sequence[tuple[str, bool]]]
"""Texts before and now, each with whether the other side has it too."""


@dataclass(frozen=True, slots=True)
class Change:
    """One restaurant, with its rows in both runs."""

    number: int
    moved: Moved
    old: Row
    new: Row

    @property
    def sentences(self) -> Sides:
        """Of both summaries."""
        return self._beside("summary_sentences", "text")

    @property
    def claims(self) -> Sides:
        """Of both lists of strengths."""
        return self._beside("strengths", "claim")

    def _beside(self, column: str, name: str) -> Sides:
        old, new = ([one[name] for one in row[column] or ()] for row in (self.old, self.new))
        return [(text, text in new) for text in old], [(text, text in old) for text in new]


def write_changes(old: Committed, new: Committed, path: Path | None = None, most: int = MOST_SHOWN) -> Folder:
    """Writes the page into the folder of `new`, or to `path`; returns where it is. Raises what `write_report` raises."""
    page.check_installed()
    with readable(old), readable(new):
        found = compare(old, new, most)
        kinds = {kind: _changes(old, new, found.most[kind]) for kind in ("answers", "reviews")}
        others = {"new": rows_by_id(new, found.most["new"][:MOST_NAMED]), "gone": rows_by_id(old, found.most["gone"][:MOST_NAMED])}
    told = page.render(
        "changes.html",
        old=old.manifest,
        new=new.manifest,
        found=found,
        kinds=kinds,
        others=others,
        differences=dict(counted(differences(old.manifest, new.manifest))),
        most_named=MOST_NAMED,
    )
    return page.write(path or inside(new.folder, CHANGES), told)


def _changes(old: Committed, new: Committed, some: Sequence[Moved]) -> list[Change]:
    before, after = rows_by_id(old, some), rows_by_id(new, some)
    return [Change(number, one, before[one.restaurant_id], after[one.restaurant_id]) for number, one in enumerate(some, start=1)]
