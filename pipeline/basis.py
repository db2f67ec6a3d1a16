"""What all shards of a run and their merge, or all its workers, must have in common; of one that differs it is told in what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from pipeline.answering import WORDINGS
from pipeline.digest import digest
from pipeline.inputs import InputFile
from pipeline.job import Job
from pipeline.manifest import plain
from pipeline.previous import Previous
from pipeline.runtime import Runtime
from pipeline.shares import digest_of
from pipeline.tables import Results
from pipeline.tasks.calibration import Fit

Basis = dict[str, Any]
"""By the name of a part, as it reads back from JSON."""
CALIBRATION, COMMITTED, RESTAURANTS, SHARES = "calibration", "committed run", "restaurants", "shares"


def asked(files: Sequence[InputFile], job: Job, runtime: Runtime) -> Basis:
    """What a person has a hand in. Files are known by their content, since machines may have them at other paths; those of object stores by
    their names."""
    anew = job.force or job.store is None
    found = {
        "inputs": digest(sorted(f"{one.size} {one.digest}" if one.digest else one.path for one in files)),
        "columns": dict(job.columns),
        "selection": asdict(job.selection),
        "tasks": list(job.tasks),
        "settings": [job.two_stage, job.chunk_tokens, job.max_reviews, job.update, anew],
    }
    made = program(runtime.identity, job.tasks)
    return {"version": made["version"], **{name: plain(value) for name, value in found.items()}, **made}  # what tells most comes first


def program(identity: str, tasks: Sequence[str]) -> Basis:
    """What has to be on a machine. `identity`: of the answers of its engine."""
    wording = digest([WORDINGS[name] for name in tasks])
    return {"version": version("review-digest"), "model": identity, "wording": wording}


def found_out(languages: Collection[str], fits: Mapping[str, Fit], marks: Mapping[str, str], before: Previous[Results] | None) -> Basis:
    """What is known when the dump has been read and the boundary of sentiment fitted. `languages`: of the dump; `marks`: fingerprints by
    restaurant; `before`: the committed run."""
    return {
        CALIBRATION: plain({name: asdict(fits[name]) for name in sorted(languages)}),
        COMMITTED: before.manifest["run_id"] if before else None,
        RESTAURANTS: digest_of(f"{name}\0{mark}" for name, mark in sorted(marks.items())),
    }


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Names of the parts that both have and that differ; of several the first ones tell more: from other inputs everything else follows."""
    return [name for name in one if name in other and one[name] != other[name]]
