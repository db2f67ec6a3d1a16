"""The workers of a run: pieces go to whoever is free, and the piece of one that dies goes to another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from pipeline.basis import Basis, differing
from pipeline.errors import BadConfiguration, EngineDied, JobError, TryAgain
from pipeline.job import Far, Job
from pipeline.records import Answer, Request
from pipeline.runtime import Machine
from pipeline.scale.cluster import Room
from pipeline.scale.piece import Done, Piece, Rows
from pipeline.scale.slots import ASIDE, Given, Slot
from pipeline.scale.worker import Worker
from pipeline.suspects import Suspect

POLL_S = 0.25
START_S = 900.0
"""Until one worker at least is there: a cluster may have to start machines, and a model may have to be fetched."""
STOP_S = 30.0
"""For the steps that workers are in when the run ends, and for the answers that they have not written."""
MOST_DEATHS = 16
"""Of workers with the same piece: two for each request that kills an engine, and some for the machines' own reasons."""
MOST_IDLE_DEATHS = 4
"""Of one worker, one after another and before it had a piece: it is not the reviews then."""


class Pool:
    """`deaths`: of workers, so far."""

    def __init__(self, room: Room, machine: Machine, job: Job, order: str, program: Basis, warn: Callable[[str], None]) -> None:
        """Starts the workers, and waits until one has loaded its engine. `program`: what has to be where each of them is. `warn` is told of
        each that dies. Raises BadConfiguration, TryAgain."""
        import ray

        self.room, self.deaths, self._program, self._warn = room, 0, program, warn
        self.mark: Callable[[Sequence[Suspect]], None] = lambda _: None
        self._own: Slot | None = None
        self._cores = room.cpus if not room.gpus else None
        each: dict[str, Any] = {"num_cpus": room.cpus, "num_gpus": room.gpus, "max_restarts": -1, "concurrency_groups": {ASIDE: 1}}
        made: Any = ray.remote(**each)(Worker)
        self._slots = [Slot(made.remote(machine, job, order)) for _ in range(room.workers)]
        for slot in self._slots:
            slot.place()
        self._until(lambda: any(slot.state == "free" for slot in self._slots))

    @property
    def loaded_s(self) -> list[float]:
        """Seconds that each worker took to load its engine, of those that have."""
        return [slot.loaded_s for slot in self._slots if slot.loaded_s]

    def run(self, pieces: Iterable[tuple[Piece, Rows]], check: Callable[[], None], came: Callable[[Far], None]) -> Iterator[Done]:
        """What has become of each piece, as it comes; pieces are begun in the order given, each made when a worker is free for it.
        `check` is called now and then and may raise; `came` is told how much further workers are. Raises EngineDied, TryAgain, and
        what a worker raises."""
        import ray

        coming, again = iter(pieces), deque[Given]()
        left, seen = True, time.monotonic()
        while True:
            check()
            if any(slot.state in ("free", "busy") for slot in self._slots):
                seen = time.monotonic()
            elif time.monotonic() - seen > START_S:
                raise TryAgain(f"all workers died, and none was there again after {START_S:.0f} s; see to the Ray cluster, and run again")
            for slot in self._slots:
                if slot.state == "free" and (again or left):
                    if not again and (made := next(coming, None)):
                        again.append(Given(made[0], ray.put(made[1])))
                    left = left and bool(again)
                    if again:
                        slot.answer(again.popleft())
            if not left and not again and not any(slot.state == "busy" for slot in self._slots):
                return
            yield from self._wait(again)
            for slot in self._slots:
                came(slot.come())

    def step(self, new: Sequence[tuple[Request, int]]) -> list[Answer]:
        """A step of one worker's engine, the same from step to step, for the run's own requests. Raises EngineDied where it died; the next
        step is another's, who knows nothing of what was inside. Raises TryAgain where there is no other."""
        import ray

        if self._own is None:
            self._until(lambda: any(slot.state == "free" for slot in self._slots))
            self._own = next(slot for slot in self._slots if slot.state == "free")
        own = self._own
        try:
            answers: list[Answer] = ray.get(own.actor.step.remote(new))
        except ray.exceptions.RayError as error:
            self._own = None
            ray.kill(own.actor, no_restart=False)
            self._died(own, _reason(error), deque(), known=True)
            raise EngineDied(f"a worker died ({_reason(error)}); run the same command again") from None
        return answers

    def abort(self) -> None:
        """Gives up what that engine holds."""
        if self._own is not None:
            self._own.actor.abort.remote()

    def close(self) -> None:
        """Lets workers write what they have and ends them."""
        import ray

        for slot in self._slots:
            slot.actor.stop.options(concurrency_group=ASIDE).remote()
        busy = [slot.doing for slot in self._slots if slot.state == "busy"]
        if busy:
            ray.wait(busy, num_returns=len(busy), timeout=STOP_S)
        closing = [slot.actor.close.remote() for slot in self._slots if slot.state in ("free", "busy")]
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=STOP_S)
        for slot in self._slots:
            ray.kill(slot.actor)

    def _until(self, there: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not there():
            list(self._wait(deque()))
            if time.monotonic() - began > START_S:
                raise TryAgain(f"no worker was ready after {START_S:.0f} s; see what else the Ray cluster does, and run again")

    def _wait(self, again: deque[Given]) -> Iterator[Done]:
        """What workers have to say; pieces that have to be begun again go to `again`."""
        import ray

        waiting = {slot.doing: slot for slot in self._slots if slot.doing is not None}
        if not waiting:
            time.sleep(POLL_S)
            return
        ready, _ = ray.wait(list(waiting), timeout=POLL_S)
        for one in ready:
            slot = waiting[one]
            try:
                said = ray.get(one)
            except ray.exceptions.RayTaskError as error:
                self._failed(slot, error, again)
            except ray.exceptions.RayError as error:  # killed, with its machine or without; or it cannot be reached, and must not go on
                ray.kill(slot.actor, no_restart=False)
                self._died(slot, _reason(error), again)
            else:
                if done := self._said(slot, said):
                    yield done

    def _said(self, slot: Slot, said: Any) -> Done | None:
        slot.doing = None
        if slot.state == "placing":
            slot.placed(said, {(one.host, one.rank) for one in self._slots if one is not slot and one.host}, self._cores)
            return None
        if slot.state == "loading":
            self._loaded(slot, *said)
            return None
        slot.state, slot.given = "free", None
        done: Done = said
        return done

    def _loaded(self, slot: Slot, seconds: float, theirs: Basis) -> None:
        """Raises BadConfiguration where the worker is another program than this one, or has another model: its answers would be others."""
        if parts := differing(theirs, self._program):
            raise BadConfiguration(f"the worker on {slot.host} differs in its {parts[0]}; all machines need the same program and model")
        slot.loaded_s, slot.state, slot.idle_deaths = seconds, "free", 0

    def _failed(self, slot: Slot, error: Any, again: deque[Given]) -> None:
        """Raises what the worker raised, but for the death of its engine, which is that of the worker."""
        import ray

        cause = error.cause
        if isinstance(cause, EngineDied):
            ray.kill(slot.actor, no_restart=False)
            self._died(slot, str(cause), again, known=True)
        elif isinstance(cause, JobError):
            raise cause
        else:
            raise error

    def _died(self, slot: Slot, reason: str, again: deque[Given], known: bool = False) -> None:
        """Ray starts it again; its piece goes to whoever is free first. `known`: whoever fed its engine has noted in the store what was
        inside. Raises EngineDied."""
        self.deaths += 1
        self._warn(f"a worker on {slot.host or 'a machine of the cluster'} died ({reason})")
        given, suspects = slot.given, slot.inside() if slot.note else []
        slot.place()
        if suspects and not known:
            self.mark(suspects)
        if given is None:
            slot.idle_deaths += 1
            if slot.idle_deaths >= MOST_IDLE_DEATHS:
                self._give_up(slot)
            return
        died = given.piece.again(suspects)
        if died.deaths >= MOST_DEATHS:
            raise EngineDied(f"{died.deaths} workers have died of the same restaurants; run again, what was inside is asked alone and last")
        again.append(Given(died, given.rows))

    def _give_up(self, slot: Slot) -> None:
        """Goes on without this worker. Raises EngineDied where it was the last one."""
        import ray

        ray.kill(slot.actor)
        self._slots.remove(slot)
        if not self._slots:
            raise EngineDied(f"workers died {MOST_IDLE_DEATHS} times each before they had anything to do; see --verbose for their logs")
        self._warn(f"a worker died {MOST_IDLE_DEATHS} times before it had anything to do, and is left out")


def _reason(error: Any) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
