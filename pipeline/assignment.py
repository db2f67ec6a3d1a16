"""What one run has to look at: all that has changed, a shard's share of that, or what shards have left to their merge."""

from __future__ import annotations

from pipeline.calibrations import fits_for
from pipeline.changes import Assigned, changes
from pipeline.dump import Dump
from pipeline.job import Job, Progress, Stop
from pipeline.merging import Merge
from pipeline.previous import Previous
from pipeline.runtime import Runtime
from pipeline.sharing import share_of
from pipeline.store import Store
from pipeline.tables import Results


def assigned(
    dump: Dump,
    job: Job,
    runtime: Runtime,
    store: Store,
    before: Previous[Results] | None,
    merge: Merge | None,
    progress: Progress,
    stop: Stop,
) -> Assigned | Previous[Results]:
    """What this run is to do, or the run that holds all of it already. `before`: the committed run. Raises BadConfiguration where the model
    cannot answer or shards do not belong together, TryAgain."""
    if merge:
        return merge.over(dump, job, runtime, progress.stage) or merge.left(dump, job, runtime, store.folder)
    fits = fits_for(dump.languages, runtime, store, progress, stop, job.recalibrate, job.calibrate_on, dump)
    if job.shard:
        return share_of(job.shard, dump, job, runtime, fits, before, progress.stage)
    changed = changes(dump, job, runtime, fits, before)
    return Assigned(changed, fits, before, dump, changed.fingerprints)
