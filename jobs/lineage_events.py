"""A run as events of OpenLineage: what it read, what it wrote, how it ended. Imports the package `openlineage-python`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from typing import Any

from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, RunEvent, RunState
from openlineage.client.event_v2 import Run as LineageRun
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    error_message_run,
    input_statistics_input_dataset,
    job_type_job,
    nominal_time_run,
    output_statistics_output_dataset,
    parent_run,
    schema_dataset,
    tags_run,
)
from openlineage.client.uuid import generate_static_uuid

from jobs.datasets import dataset_name
from jobs.observed import End, Run
from jobs.shareable import message_of
from pipeline.errors import Stopped
from pipeline.expanded import EXPANDED
from pipeline.schemas import RESTAURANTS

PRODUCER = "urn:review-digest"
TABLES = {"analyze": ("restaurants", RESTAURANTS), "expand-queries": ("queries", EXPANDED)}
"""The table that readers of each command's results open first."""


def start(run: Run) -> RunEvent:
    """Tells what is about to be read and written."""
    return _event(RunState.START, run, run.at, _run_facets(run), _inputs(run), [_output(run)])


def end(run: Run, ended: End) -> RunEvent:
    """COMPLETE where readers have results of this run or need none, ABORT where a signal ended it, else FAIL."""
    done, facets = ended.done, _run_facets(run)
    if done is not None:
        return _event(RunState.COMPLETE, run, ended.at, facets, _inputs(run, done.manifest), [_output(run, done.manifest)])
    state = RunState.ABORT if isinstance(ended.error, Stopped) else RunState.FAIL
    if ended.error is not None:
        message = message_of(ended.error) or type(ended.error).__name__
        facets["errorMessage"] = error_message_run.ErrorMessageRunFacet(message, "python")
    return _event(state, run, ended.at, facets, _inputs(run), [_output(run)])


def _event(
    state: RunState, run: Run, at: datetime, facets: dict[str, Any], inputs: Sequence[InputDataset], outputs: Sequence[OutputDataset]
) -> RunEvent:
    run_uuid = str(generate_static_uuid(run.at, run.run_id.encode()))
    kind = job_type_job.JobTypeJobFacet(processingType="BATCH", integration="REVIEW_DIGEST", jobType="COMMAND")
    return RunEvent(
        eventType=state,
        eventTime=at.isoformat(),
        run=LineageRun(run_uuid, facets),
        job=Job(os.environ.get("OPENLINEAGE_NAMESPACE") or "default", f"review-digest.{run.command}", {"jobType": kind}),
        inputs=list(inputs),
        outputs=list(outputs),
        producer=PRODUCER,
    )


def _run_facets(run: Run) -> dict[str, Any]:
    facets: dict[str, Any] = {"tags": tags_run.TagsRunFacet([tags_run.TagsRunFacetFields("run_id", run.run_id, "REVIEW_DIGEST")])}
    if run.date:
        day = date.fromisoformat(run.date)
        facets["nominalTime"] = nominal_time_run.NominalTimeRunFacet(_midnight(day), _midnight(day + timedelta(days=1)))
    namespace, _, rest = os.environ.get("OPENLINEAGE_PARENT_ID", "").partition("/")  # as Airflow's macro lineage_parent_id writes it
    name, _, parent = rest.rpartition("/")
    with suppress(ValueError):  # no such id is no parent
        facets["parent"] = parent_run.ParentRunFacet(parent_run.Run(parent), parent_run.Job(namespace, name))
    return facets


def _midnight(day: date) -> str:
    return f"{day.isoformat()}T00:00:00Z"


def _inputs(run: Run, manifest: Mapping[str, Any] | None = None) -> list[InputDataset]:
    """One for each place; how much was read where there is one place only, since a manifest counts all of them together."""
    names = dict.fromkeys(map(dataset_name, run.inputs))
    facets: dict[str, Any] = {}
    if manifest is not None and len(names) == 1:
        files = manifest["inputs"]
        sizes = [file["size"] for file in files]
        rows = manifest["counts"].get("reviews")
        facets["inputStatistics"] = input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
            rowCount=None if rows is None else rows + manifest["counts"]["rejects"],
            size=None if None in sizes else sum(sizes),
            fileCount=len(files),
        )
    return [InputDataset(*name, inputFacets=dict(facets)) for name in names]


def _output(run: Run, manifest: Mapping[str, Any] | None = None) -> OutputDataset:
    """The whole output, all its days: a partition is no dataset of its own."""
    found = OutputDataset(*dataset_name(str(run.output)))
    if manifest is not None:
        rows, schema = TABLES[run.command]
        fields = [schema_dataset.SchemaDatasetFacetFields(name, str(kind)) for name, kind in schema.items()]
        number = sum(manifest["counts"][rows].values())
        found.facets = {
            "schema": schema_dataset.SchemaDatasetFacet(fields),
            "version": dataset_version_dataset.DatasetVersionDatasetFacet(manifest["run_id"]),
        }
        found.outputFacets = {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=number)}
    return found
