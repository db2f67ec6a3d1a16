"""N workers on paper: seconds, efficiency, what the workers' seconds are spent on, and what keeps more workers from being of use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.simulation.overheads import NONE, Overheads, Size
from pipeline.simulation.workers import Work

SPENT: Mapping[str, str] = {
    "answering": "",
    "calibrating": "calibrate once: later runs on the same store find the boundary of sentiment there",
    "loading": "more reviews in one run, or fewer workers",
    "tails": "more reviews in one run, or a smaller batch (--engine-option max_num_seqs=)",
    "uneven pieces": "more reviews in one run, or fewer workers",
    "longest restaurant": "no worker shares it: a faster engine (tensor_parallel_size over several GPUs), --max-reviews, --since",
    "comparing": "more reviews in one run; --single-stage asks no comparisons",
    "driver": "one thread reads, chooses peers, deals, writes: categories and areas in the dump (peers by kind are cheap), --since",
    "store": "a store on each worker's own disk (--store), merged parts wait for one lock",
    "object storage": "a faster network, the dump on a local disk, --since on a dump in daily files",
}
"""What workers' seconds are spent on, and the setting that moves it."""
EFFICIENT = 0.95
"""Nothing is said to limit a run above this."""


@dataclass(frozen=True, slots=True)
class Phases:
    """Seconds, one after another: until all workers are ready, anchors, single restaurants, comparisons, what the driver does after."""

    start_s: float
    calibrate_s: float
    first_s: float
    second_s: float
    end_s: float

    @property
    def seconds(self) -> float:
        """Of the whole run."""
        return self.start_s + self.calibrate_s + self.first_s + self.second_s + self.end_s


@dataclass(frozen=True, slots=True)
class Scaled:
    """A run on so many workers. `efficiency`: seconds of one worker / (workers * seconds). `spent`: shares of all workers' seconds, by the
    names of SPENT, 1 together. `limit`: of them the one that costs most beyond what it costs one worker, None where little is lost."""

    workers: int
    seconds: float
    efficiency: float
    spent: Mapping[str, float]
    limit: str | None
    pieces: int
    phases: Phases

    @property
    def setting(self) -> str:
        """What moves the limit."""
        return SPENT[self.limit] if self.limit else ""

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "setting": self.setting}


def worker_counts(most: int) -> list[int]:
    """1, 2, 4, ... and `most` itself. Raises ValueError below 1."""
    if most < 1:
        raise ValueError(f"{most} workers: at least one has to do the work")
    counts = [1]
    while counts[-1] * 2 <= most:
        counts.append(counts[-1] * 2)
    return counts if counts[-1] == most else [*counts, most]


def scaled(work: Work, workers: Sequence[int], size: Size, overheads: Overheads = NONE, shards: bool = False) -> list[Scaled]:
    """The same work on each of these numbers of workers. `shards`: runs of their own that are merged (`analyze --shard`), each of which
    reads the whole dump; else a driver reads it and hands pieces to whoever is free."""
    found = []
    whole_s = work.whole_s + work.second(1).busy_s
    alone = _passed(work, 1, size, overheads, shards, whole_s)
    for number in workers:
        phases, seconds, pieces = alone if number == 1 else _passed(work, number, size, overheads, shards, whole_s)
        lost = {name: seconds[name] - alone[1][name] for name in seconds if name != "answering"}
        whole = number * phases.seconds
        efficiency = alone[0].seconds / whole if whole else 1.0
        limit = max(lost, key=lambda name: lost[name]) if efficiency < EFFICIENT else None
        spent = {name: value / whole if whole else 0.0 for name, value in seconds.items()}
        found.append(Scaled(number, phases.seconds, efficiency, spent, limit, pieces, phases))
    return found


def _passed(work: Work, workers: int, size: Size, over: Overheads, shards: bool, whole_s: float) -> tuple[Phases, dict[str, float], int]:
    """Phases, all workers' seconds by what they are spent on, pieces of the first pass. `whole_s`: of one worker for all, in one piece a
    pass."""
    first, second = work.first(workers, shards), work.second(workers)
    reading, network, finding = over.reading_s(size), over.network_s(size), over.finding_s(size)
    before, after = reading + finding, size.asked * over.write_s
    handing = size.asked * (over.send_s + over.take_s)
    store = over.store_s(whole_s, first.seconds)
    if shards:  # each on its own, and once more for its comparisons; then all are read back and written by one
        start, loading = before + network + over.load_s, over.load_s
        late, again = 0.0, start if workers > 1 else 0.0
        end = after / workers + (before + network + size.asked * over.take_s + after if workers > 1 else 0.0)
    else:  # workers load while the driver reads
        start, loading = max(before + network, over.load_s), max(over.load_s - before - network, 0.0)
        late, again, end = max(handing - first.seconds, 0.0), 0.0, after
    phases = Phases(start + again, over.calibrate_s, first.seconds + late, second.seconds, end + store)
    rounds = 2 if again else 1
    merging = network if shards and workers > 1 else 0.0
    alone = work.longest_s >= 0.9 * first.seconds
    waiting = workers * first.seconds - first.busy_s
    seconds = dict.fromkeys(SPENT, 0.0) | {
        "answering": whole_s,
        "calibrating": workers * over.calibrate_s,
        "loading": workers * rounds * loading,
        "tails": first.busy_s - work.whole_s,
        "longest restaurant" if alone and workers > 1 else "uneven pieces": waiting,
        "comparing": workers * second.seconds - (whole_s - work.whole_s),
        "driver": workers * (rounds * (start - loading - network) + late + end - merging),
        "object storage": workers * (rounds * network + merging),
        "store": workers * store,
    }
    return phases, seconds, first.pieces
