"""What a run on N workers spends beside its engines: loading them, the driver's own work, the store, the network.

Every figure was measured on made-up reviews, ten a restaurant, on one core of an AMD EPYC that others used too, by the command beside it;
they belong to that machine. What was not measured says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

START_S: Mapping[str, float] = {"cpu": 15.0}
"""Loading the embedded model into an engine, 11 to 14 s on two cores that nobody else uses."""
GPU_START_S = 60.0
"""Loading a model of a few billion parameters into an engine on a GPU and capturing its graphs: not measured, an assumption."""
NETWORK_BYTES = 1.25e9
"""A second, from an object store or a shared disk: a network of 10 Gbit/s, the least that machines with such GPUs are let with. Not
measured, an assumption."""
FLUSH_S = 1.0
"""As `store.FLUSH_S`: how often a worker writes a part, where it has any answer."""


@dataclass(frozen=True, slots=True)
class Size:
    """Of a run. `reviews` and `restaurants` of its dump, `asked` of those reviews, `dump_bytes`."""

    reviews: int
    restaurants: int
    asked: int
    dump_bytes: int


@dataclass(frozen=True, slots=True)
class Overheads:
    """Seconds. `load_s`: from the start of a worker to its first request; all load side by side, each on a machine of its own. Of the
    driver, one thread: `read_s` a review, `find_s` a restaurant (fingerprints, peers, costs, dealing), `send_s` a review (its rows to a
    worker), `take_s` a review (its results' rows back), `write_s` a review (tables, sorted, to Parquet). `merge_s`: of a part of the
    store, merged under its lock, which one worker holds at a time. `bandwidth`: bytes a second of each machine's network.
    `calibrate_s`: questions about the anchor reviews, asked by one worker while the others wait."""

    load_s: float = START_S["cpu"]
    read_s: float = 0.0
    find_s: float = 0.0
    send_s: float = 0.0
    take_s: float = 0.0
    write_s: float = 0.0
    merge_s: float = 0.0
    bandwidth: float = NETWORK_BYTES
    calibrate_s: float = 0.0

    def reading_s(self, size: Size) -> float:
        """The dump to rows, while the network keeps up."""
        return size.reviews * self.read_s

    def network_s(self, size: Size) -> float:
        """By which the network is behind that."""
        return max(size.dump_bytes / self.bandwidth - self.reading_s(size), 0.0)

    def finding_s(self, size: Size) -> float:
        """What has changed, and who does it."""
        return size.restaurants * self.find_s

    def store_s(self, busy_s: float, seconds: float) -> float:
        """Parts that workers, busy for so long together, wrote in so many seconds faster than they could be merged: the next run merges
        them before it begins."""
        merged = seconds / self.merge_s if self.merge_s else float("inf")
        return max(busy_s / FLUSH_S - merged, 0.0) * self.merge_s


MEASURED = Overheads(read_s=4.4e-6, find_s=210e-6, send_s=0.4e-6, take_s=0.5e-6, write_s=4.1e-6, merge_s=1.6e-3)
"""Processor seconds of 203,209 reviews of 20,000 restaurants by `python -m jobs benchmark driver --restaurants 20000`; `write_s`, which is
2.2e-6 there without figures over all rows, is what 10 million reviews took by `python -m jobs benchmark pipeline --restaurants 1000000`. Of
what finding takes, 170 to 200 of 210 microseconds choose peers by what reviews say, in a dump without categories and areas."""
FIND_BY_KIND_S = 34e-6
"""In place of `find_s`, where the dump has them: then choosing peers takes 6 microseconds (the same restaurants)."""
NONE = Overheads(load_s=0.0, bandwidth=float("inf"))
