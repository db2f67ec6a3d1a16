"""What a shard has to do: its share of the restaurants that have changed, and those comparisons whose peers it knows.

All shards read the whole dump, fingerprint all of it and deal out what has changed since the committed run: each knows its share without
asking anybody. Once others have committed, their tables are known, so the same command again makes the comparisons that had to wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.basis import SHARES, asked, found_out
from pipeline.changes import Assigned, Changes, answered, compared, marks_of, unchanged_since
from pipeline.digest import digest
from pipeline.dump import Dump
from pipeline.gathered import Gathered
from pipeline.job import Job
from pipeline.previous import Previous
from pipeline.runtime import Runtime
from pipeline.shard import Shard
from pipeline.shards import MOST_NAMED, Made, described, siblings
from pipeline.shares import costs, shares
from pipeline.tables import Results
from pipeline.taken import Taken
from pipeline.tasks.calibration import Fit


def share_of(
    shard: Shard,
    dump: Dump,
    job: Job,
    runtime: Runtime,
    fits: Mapping[str, Fit],
    before: Previous[Results] | None,
    tell: Callable[[str], None],
) -> Assigned | Previous[Results]:
    """`before`: the committed run, the same for all shards. The shard's own run where that holds all of its share already."""
    marks = marks_of(dump, job, runtime, fits)
    unchanged = unchanged_since(before, marks, job)
    running = marks.keys() - unchanged
    left = replace(dump.without(unchanged), answered=answered(job, runtime, before))
    weights = costs(left, running, job, runtime, fits)
    dealt, digest_of_all = shares(weights, shard.count)
    mine = set(dealt[shard.index - 1])
    basis = {**asked(dump.files, job, runtime), **found_out(dump.languages, fits, marks, before), SHARES: digest_of_all}
    there = siblings(job.shared, shard, digest(basis))
    earlier = next((one for one in there if one.shard == shard), None)
    finished = earlier.finished if earlier else set()
    others = {name for one in there if one.shard != shard for name in one.names}
    known = Gathered.of(before, there, job.shared) if there else before
    comparing = compared(dump, marks, unchanged | finished | others, known, job).only(mine, running - mine - others)
    now = mine - finished
    asked_about = replace(dump.only(now), answered=left.answered)
    changed = Changes({name: marks[name] for name in mine}, finished, comparing, asked_about)
    if earlier and not now and not comparing.due:
        tell(_done(shard, there, len(comparing.later)))
        return Previous(Results, earlier.folder, earlier.folder, earlier.manifest, True, earlier.marks)
    tell(_line(shard, now, running, weights, finished))
    taken = Taken([earlier], finished) if earlier else None
    return Assigned(changed, fits, None, dump.only(mine), marks, taken, {"shard": described(shard, basis)})


def _line(shard: Shard, now: set[str], running: set[str], weights: Mapping[str, int], finished: set[str]) -> str:
    whole = sum(weights.values())
    share = sum(weights[name] for name in now) / whole if whole else 0.0
    had = f"; {len(finished):,} are done already" if finished else ""
    return f"{shard}: {len(now):,} of {len(running):,} restaurants to look at, {share:.1%} of the work{had}"


def _done(shard: Shard, there: Sequence[Made], waiting: int) -> str:
    missing = sorted(set(range(1, shard.count + 1)) - {one.shard.index for one in there})
    named = ", ".join(map(str, missing[:MOST_NAMED])) + ", ..." * (len(missing) > MOST_NAMED)
    wait = f"; {waiting:,} comparisons wait for shards {named}" if waiting else ""
    return f"nothing to do: {shard} has all its answers{wait}"
