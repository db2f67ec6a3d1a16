"""The merge of all shards of a run: their rows become one run's, and only the comparisons that they could not make are asked.

It reads the dump as they did and goes by the same options, so it can tell a shard that did not.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline import taken as taken_over
from pipeline.basis import SHARES, Basis, asked, differing, found_out
from pipeline.calibrations import keep
from pipeline.changes import Assigned, Changes, compared, marks_of, unchanged_since
from pipeline.dump import Dump
from pipeline.errors import BadConfiguration
from pipeline.gathered import Gathered
from pipeline.job import Job
from pipeline.previous import Previous
from pipeline.runtime import Runtime
from pipeline.shard import together
from pipeline.shards import MOST_NAMED, Made, check_all_there, check_whole, held
from pipeline.tables import Results
from pipeline.taken import Taken
from pipeline.tasks.calibration import Fit

GONE = ".merged"
"""Beside the folders of shards: what is being removed."""


@dataclass(frozen=True, slots=True)
class Merge:
    """The shards of one run, held. `before`: the committed run, on which they built."""

    output: Path
    count: int
    there: tuple[Made, ...]
    before: Previous[Results] | None

    def over(self, dump: Dump, job: Job, runtime: Runtime, tell: Callable[[str], None]) -> Previous[Results] | None:
        """The committed run where it is the merge of these shards, or of ones like these that are gone already. Else all of them are there
        and are of this dump and these options. Raises TryAgain where some are missing, BadConfiguration where some differ."""
        done = self.before.manifest.get("shards") if self.before and self.before.here else None
        mine = asked(dump.files, job, runtime)
        of_these = done and (all(one.of == done["of"] for one in self.there) if self.there else not differing(mine, done["basis"]))
        if done and of_these and done["count"] == self.count:
            tell(f"nothing to do: these {self.count} shards have been merged")
            return self.before
        check_all_there(self.output, self.count, list(self.there))
        self._check(mine)
        return None

    def left(self, dump: Dump, job: Job, runtime: Runtime, store: Path) -> Assigned:
        """What the shards have left. The boundaries of sentiment that they went by are from now on also those of this store, which may not
        have been theirs. Raises BadConfiguration where they do not hold just what has changed since the committed run, TryAgain."""
        fits = {name: Fit(**one) for name, one in self.there[0].manifest["calibration"].items()}
        keep(store, fits, runtime.identity)
        marks = marks_of(dump, job, runtime, fits)
        self._check({**found_out(dump.languages, fits, marks, self.before), SHARES: self.there[0].basis[SHARES]})
        check_whole(self.output, list(self.there))
        unchanged = unchanged_since(self.before, marks, job)
        self._check_names(marks.keys() - unchanged)
        known = Gathered.of(self.before, self.there, self.output)
        comparing = compared(dump, marks, marks.keys(), known, job)
        changed = Changes(marks, unchanged, comparing, dump.without(marks.keys()))
        told = {"shards": taken_over.described(self.there)}
        return Assigned(changed, fits, self.before, dump, marks, Taken(self.there), told)

    def remove(self) -> None:
        """Under a name that no shard has, so that one of the next night that begins meanwhile does not lose its own. Where there are none,
        what a merge that was killed has left under that name."""
        folder, gone = together(self.output, self.count), together(self.output, self.count).with_name(GONE)
        shutil.rmtree(gone, ignore_errors=True)
        if self.there:
            with suppress(OSError):
                folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            folder.parent.rmdir()

    def _check(self, mine: Basis) -> None:
        """Raises BadConfiguration where shards differ from what this run knows, and says in what."""
        differ = {one.shard: differing(one.basis, mine) for one in self.there}
        wrong = [f"{shard} differs in its {parts[0]}" for shard, parts in differ.items() if parts]
        if wrong:
            named = "; ".join(wrong[:MOST_NAMED]) + "; ..." * (len(wrong) > MOST_NAMED)
            raise BadConfiguration(
                f"{together(self.output, self.count)}: {len(wrong)} of {self.count} shards do not belong to this merge: {named}; run them "
                "again with the options, inputs and committed results of this merge, or merge with theirs"
            )

    def _check_names(self, running: Collection[str]) -> None:
        found = [name for one in self.there for name in one.marks["restaurant_id"]]
        if len(found) != len(running) or set(found) != set(running):
            lost, more = len(set(running) - set(found)), len(found) - len(set(found) & set(running))
            raise BadConfiguration(
                f"{together(self.output, self.count)}: of {len(running):,} restaurants that have changed {lost:,} are in no shard, and "
                f"{more:,} are there too often or without reason; remove this folder and run the shards again"
            )


@contextmanager
def merging(job: Job, before: Previous[Results] | None) -> Iterator[Merge | None]:
    """The shards that this job is to merge, None where it is to merge none. Raises what `shards.held` raises."""
    if job.merge is None:
        yield None
        return
    if job.shard:
        raise BadConfiguration(f"{job.shard} merges nothing; merge in a run of its own")
    with held(job.shared, job.merge) as there:
        merge = Merge(job.shared, job.merge, tuple(there), before)
        if there and len(there) < job.merge:
            check_all_there(job.shared, job.merge, there)  # before the dump is read: a scheduler may ask every minute
        yield merge
        merge.remove()  # nothing was raised: readers see all of it
