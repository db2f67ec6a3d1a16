"""Search queries that are expanded in the same run as a dump's restaurants, in the same loop and engine."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline.asked_queries import fingerprints, priced, settings, tokenised
from pipeline.expanded import EXPANDED, Expanded, expanded
from pipeline.job import Job
from pipeline.previous import Previous
from pipeline.queries import QUERIES, Queries
from pipeline.records import Outcome
from pipeline.restaurants import Tokenised
from pipeline.run import Loop
from pipeline.runtime import Runtime
from pipeline.schemas import REQUESTS
from pipeline.tables import Results
from pipeline.tasks.calibration import Fit
from pipeline.tasks.query_expansion import QueryExpansionTask

FILES = {"queries": EXPANDED, "query_rejects": QUERIES.reject_schema}
"""Beside the four of `analyze`; the queries' requests stand among the others."""


class Beside:
    """The queries of one run of `analyze`: which are asked, and what came of them."""

    def __init__(self, queries: Queries, fits: Mapping[str, Fit], runtime: Runtime, before: Previous[Results] | None, job: Job) -> None:
        """`before`: the run whose unchanged rows are carried over."""
        self._queries, self._runtime = queries, runtime
        self._readable = {language for language, fit in fits.items() if fit.readable}
        self._marks = fingerprints(queries, {language: settings(runtime, language in self._readable) for language in fits})
        self._before = committed_beside(before.tables) if before else Expanded.empty()
        self._keeps_others = bool(job.update and before and before.here)
        known = self._before.queries.select("query_id", "fingerprint").drop_nulls().iter_rows() if job.store and not job.force else ()
        self._unchanged = {name for name, mark in known if self._marks.get(name) == mark}
        self._changed = queries.without(self._unchanged)
        self._outcomes: list[Outcome] = []

    @property
    def due(self) -> bool:
        """Whether anything is to be asked."""
        return not self._changed.rows.is_empty()

    def begin(self, loop: Loop) -> None:
        """Opens a plan for each query that is not known; all of them at once, before the restaurants."""
        for query, task in self.asked():
            loop.begin(query, task)

    def asked(self) -> Iterator[tuple[Tokenised, QueryExpansionTask]]:
        """Queries that are not known, in the order of their files."""
        if self.due:
            task = QueryExpansionTask(self._runtime.tokens, self._readable)
            for query in tokenised(priced(self._changed, task).sort("arrival"), self._runtime.tokens):
                yield query, task

    def take(self, outcome: Outcome) -> None:
        """What came of one query."""
        self._outcomes.append(outcome)

    @cached_property
    def tables(self) -> Expanded:
        """A row for each query; of an update also those of the queries before that are not in these. Ask when all outcomes are taken."""
        found = expanded(self._outcomes, self._queries.rejects, self._marks).carry_over(self._before, self._unchanged)
        return found.keep_others(self._before) if self._keeps_others else found

    @property
    def unchanged(self) -> bool:
        """Whether the run before holds just these rows."""
        rows, place = ["query_id", "fingerprint"], ["source_file", "source_row"]
        return (
            self._unchanged == set(self._marks)
            and self.tables.queries.select(rows).equals(self._before.queries.select(rows))
            and self.tables.rejects.sort(place).equals(self._before.rejects.sort(place))
        )

    @property
    def files(self) -> dict[str, pl.DataFrame]:
        """Tables by name, beside the others."""
        return dict(zip(FILES, (self.tables.queries, self.tables.rejects), strict=True))

    def told(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The run's manifest with the queries in its inputs and counts."""
        counted = counts(self.tables, set(self._marks))
        both = {name: manifest["counts"][name] + counted[name] for name in ("selected", "missing")}
        status = "complete" if manifest["status"] == "complete" and set(counted["queries"]) <= {"ok"} else "incomplete"
        inputs = [*manifest["inputs"], *({**asdict(one), "holds": "queries"} for one in self._queries.files)]
        return {**manifest, "status": status, "inputs": inputs, "counts": {**manifest["counts"], **counted, **both}}


def counts(tables: Expanded, selected: Collection[str]) -> dict[str, Any]:
    """For the manifest."""
    rows = tables.queries
    missing = pl.col("status").is_in(["failed", "pending"]) & pl.col("query_id").is_in(sorted(selected))
    return {
        "queries": dict(rows["status"].value_counts().sort("status").iter_rows()),
        "expansions": int(rows["expansions"].list.len().sum()),
        "dropped_expansions": int(rows["dropped_count"].sum()),
        "query_rejects": tables.rejects.height,
        "selected": len(selected),
        "missing": rows.filter(missing).height,
    }


def committed_beside(folder: Path) -> Expanded:
    """The queries' tables of a committed run, empty where it has none of this version."""
    try:
        queries, rejects = (pl.read_parquet(folder / f"{name}.parquet") for name in FILES)
    except (OSError, PolarsError, PanicException):
        return Expanded.empty()
    known = queries.schema == pl.Schema(EXPANDED)
    return Expanded(queries, rejects, pl.DataFrame(schema=REQUESTS)) if known else Expanded.empty()
