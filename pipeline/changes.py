"""What a run has to look at: restaurants that are not just what the committed run was computed from, and comparisons that may change with
them. The same for a run and for its plan."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any

import polars as pl

from pipeline.answering import WORDINGS
from pipeline.comparing import Comparing, comparing
from pipeline.digest import digest
from pipeline.dump import Dump
from pipeline.fingerprints import fingerprints
from pipeline.job import Job
from pipeline.previous import Previous
from pipeline.runtime import Runtime
from pipeline.schemas import RESTAURANTS, REVIEWS
from pipeline.tables import Results
from pipeline.taken import Taken
from pipeline.tasks.calibration import Fit


@dataclass(frozen=True, slots=True)
class Changes:
    """`fingerprints` by restaurant of the dump; `unchanged`: those whose rows are carried over; `dump`: what concerns the others."""

    fingerprints: Mapping[str, str]
    unchanged: set[str]
    compared: Comparing
    dump: Dump

    def all_unchanged(self, before: Previous[Results], job: Job) -> bool:
        """Whether readers see the results of this selection, and no restaurant of it has changed."""
        return self.unchanged == self.fingerprints.keys() and before.chosen_by(None if job.update else job.selection)


@dataclass(frozen=True, slots=True)
class Assigned:
    """`changed`: what the run looks at; `fits`: of every language of its dump; `before`: the run whose unchanged rows it carries over;
    `taken`: shards whose rows it takes over as its own. `dump`: what its results account for; `selected`: all restaurants that were read,
    also where the run looks at a share. `told`: what its manifest says of that."""

    changed: Changes
    fits: Mapping[str, Fit]
    before: Previous[Results] | None
    dump: Dump
    selected: Mapping[str, str]
    taken: Taken | None = None
    told: Mapping[str, Any] = field(default_factory=dict)


def changes(dump: Dump, job: Job, runtime: Runtime, fits: Mapping[str, Fit], before: Previous[Results] | None) -> Changes:
    """`fits`: of every language of the dump."""
    marks = marks_of(dump, job, runtime, fits)
    unchanged = unchanged_since(before, marks, job)
    left = dump.without(unchanged)
    return Changes(marks, unchanged, compared(dump, marks, unchanged, before, job), replace(left, answered=answered(job, runtime, before)))


def marks_of(dump: Dump, job: Job, runtime: Runtime, fits: Mapping[str, Fit]) -> dict[str, str]:
    """Fingerprints by restaurant of the dump."""
    return fingerprints(dump, lambda languages: _settings(job, runtime, {name: fits[name] for name in languages}))


def unchanged_since(before: Previous[Results] | None, marks: Mapping[str, str], job: Job) -> set[str]:
    """Restaurants whose rows of the run before stand."""
    return before.unchanged(marks) if before and not job.force and job.store else set()


def compared(dump: Dump, marks: Collection[str], known: Collection[str], before: Previous[Results] | None, job: Job) -> Comparing:
    """Who is compared with whom. `known`: restaurants that this run does not ask about, and whose rows are in `before`."""
    narrow = job.update and not job.selection.whole
    return comparing(dump, marks, known, before, job.two_stage and "strengths" in job.tasks, narrow)


def answered(job: Job, runtime: Runtime, before: Previous[Results] | None) -> Callable[[pl.Expr], pl.DataFrame] | None:
    """Reviews whose labels the run before has: the same tasks' questions, in the same chunks, to the same model, and a store that keeps the
    answers. A review that has been rewritten under its id is among them; what follows from these is an estimate."""
    if before is None or job.force or job.store is None or before.manifest.get("identity") != runtime.identity:
        return None
    wording, had = before.manifest.get("wording", {}), before.manifest.get("settings", {})
    if any(wording.get(name) != digest(WORDINGS[name]) for name in job.tasks):
        return None
    if (had.get("chunk_tokens"), had.get("max_reviews")) != (job.chunk_tokens, job.max_reviews):
        return None
    labelled = pl.col("sentiment").is_not_null()
    return lambda rows: before.select("reviews", lambda reviews: reviews.filter(rows, labelled).select("restaurant_id", "review_id"))


def merged(tables: Results, second: pl.DataFrame, kept: Results | None, unchanged: Collection[str], keep_others: bool) -> Results:
    """These tables, what is `kept` of the run before, and what comparisons have found out of both (`second`: rows of SECOND). All of them,
    or all of one range of restaurants. `keep_others`: also of restaurants that this run was not asked about."""
    if kept is None:
        return tables.compared(second)
    tables = tables.carry_over(kept, unchanged).compared(second)
    return tables.keep_others(kept) if keep_others else tables


def _settings(job: Job, runtime: Runtime, fits: Mapping[str, Fit]) -> str:
    """Digest of what a row depends on beside its restaurant's rows of the dump."""
    form = [version("review-digest"), *({name: str(dtype) for name, dtype in schema.items()} for schema in (RESTAURANTS, REVIEWS))]
    wording = [(name, WORDINGS[name]) for name in job.tasks]
    chosen = [job.chunk_tokens, job.max_reviews, job.two_stage]
    return digest([form, runtime.identity, chosen, wording, {name: asdict(one) for name, one in fits.items()}])
