"""Where workers run: a Ray cluster that is there, or one of this machine alone, started with the run and gone with it.

Ray's actors and not Ray Data: a worker holds an engine and answers pieces one after another, the run sees how far each is, takes back the
piece of one that died, and knows what was inside its engine. The same pieces by `map_batches` with a pool of two actors took 185 s where
this took 113 (200 reviews of 8 restaurants, a core each, Ray 2.60, starts of engines included; a restaurant a batch: 179): each pass over
a dataset, and there are two, starts its actors and so their engines anew. `ray.data.llm` hands rows to an engine in batches and takes whole
batches back; what belongs to one restaurant has no place in it, nor has a second stage, and on the same 381 requests it took 172 s where
this job took 57 (each with the start of its engine, one machine).
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.engine_settings import Device, Feed, Gpu
from pipeline.errors import BadConfiguration
from pipeline.job import Job, Progress
from pipeline.machine import local_machine

if TYPE_CHECKING:
    from pipeline.scale.machine import ManyWorkers

REACH_S = 10.0
"""For a connection to the cluster's head."""
FIND_S = 60.0
"""For a task that looks at a machine's GPUs."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """`address` of a Ray cluster (`auto`: the one that this machine is part of); None starts one on this machine. `workers`: None for as
    many as there is room for. `gpus` and `cpus` of each; None for a GPU each where the cluster has some, and for what a machine has by its
    workers on it."""

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    cpus: int | None = None
    verbose: bool = False

    @contextmanager
    def joined(self) -> Iterator[Room]:
        """Connected to it, for as long as this lasts. Raises BadConfiguration where Ray is missing or the cluster cannot be reached."""
        try:
            import ray
        except ImportError as error:
            raise BadConfiguration(f"Ray cannot be imported ({error}); install the extra 'ray', or run without --on ray") from None
        mine = not ray.is_initialized()
        if mine:
            _join(self.address, self.verbose)
        try:
            yield self._room(dict(ray.cluster_resources()))  # type: ignore[no-untyped-call]
        finally:
            if mine:
                ray.shutdown()

    def _room(self, has: dict[str, float]) -> Room:
        """Raises BadConfiguration where there is not room for one worker."""
        gpus = self.gpus if self.gpus is not None else float(has.get("GPU", 0) >= 1)
        there = int(has.get("CPU", 0))
        cpus = self.cpus or (1 if gpus else max(there // (self.workers or 1), 1))
        most = min(int(has.get("GPU", 0) / gpus) if gpus else there, there // cpus)
        if most < 1:
            raise BadConfiguration(
                f"the Ray cluster has {there} CPUs and {has.get('GPU', 0):g} GPUs, and a worker takes {cpus} and {gpus:g}; "
                "name less with --cpus-per-worker and --gpus-per-worker, or another --ray-address"
            )
        return Room(self.workers or most, gpus, cpus)

    @contextmanager
    def machine(
        self,
        job: Job,
        order: str,
        tell: Progress,
        model: str | None,
        device: Device | None,
        feed: Feed,
        engine_options: Mapping[str, Any] | None,
        model_cache: Path,
    ) -> Iterator[ManyWorkers]:
        """Its workers as one machine, each as `local_machine` makes one where it runs. Raises BadConfiguration."""
        from pipeline.scale.machine import ManyWorkers

        with self.joined() as room:
            on = device or ("gpu" if room.gpus else "cpu")
            gpus = gpus_of_a_worker(room) if on == "gpu" else []
            one = local_machine(model, on, feed, engine_options, model_cache, self.verbose, tell.stage, gpus)
            tell.stage(f"{room.workers} workers on Ray, each with {room.gpus:g} GPUs and {room.cpus} cores")
            many = ManyWorkers(one, replace(one, tell=_nobody), room, job, order, tell.warn)
            try:
                yield many
            finally:
                many.close()


def _nobody(_: str) -> None:
    """A worker has nobody to tell what it does."""


@dataclass(frozen=True, slots=True)
class Room:
    """For `workers` with so many `gpus` and `cpus` each; what is not there yet is waited for."""

    workers: int
    gpus: float
    cpus: int


def gpus_of_a_worker(room: Room) -> list[Gpu]:
    """GPUs of a machine of the cluster. Raises BadConfiguration where none answers."""
    import ray

    found = ray.remote(num_gpus=room.gpus, num_cpus=0)(_gpus).remote()
    ready, _ = ray.wait([found], timeout=FIND_S)
    if not ready:
        raise BadConfiguration(f"the Ray cluster gave no machine with {room.gpus:g} free GPUs in {FIND_S:.0f} s; is another job there?")
    there: list[Gpu] = ray.get(found)
    return there


def _gpus() -> list[Gpu]:
    from pipeline.machine import found_gpus

    return found_gpus()


def _reach(address: str) -> None:
    """Raises BadConfiguration where nobody listens: Ray itself would try for minutes. `auto` it looks up by itself."""
    host, colon, port = address.rpartition(":")
    if "://" in address:
        raise BadConfiguration(f"--ray-address {address}: run the command on a machine of the cluster, with --ray-address auto")
    if not (colon and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACH_S).close()
    except (OSError, OverflowError) as error:
        raise BadConfiguration(f"--ray-address {address}: no Ray cluster there ({error})") from None


def _join(address: str | None, verbose: bool) -> None:
    import ray

    if address:
        _reach(address)
    alone: dict[str, Any] = {} if address else {"include_dashboard": False}
    level = logging.INFO if verbose else logging.ERROR
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(address or "local", **alone, log_to_driver=verbose, logging_level=level, configure_logging=verbose)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BadConfiguration(f"--ray-address {address}: no Ray cluster there ({reason})") from None
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray has put its own in their place
            for number, handler in handlers.items():
                signal.signal(number, handler)
