"""The steps that an engine has taken: all of them in the totals, enough of them for a fit."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, runtime_checkable

from pipeline.costs import Step

MOST_KEPT = 1 << 16
"""Steps kept one by one, about 6 MB. Of longer runs every second, every fourth and so on is kept."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Sums over steps. `seconds` is wall time: steps follow one another; `stepping_s`: of that, inside the engine. `warm_up_s`: of an
    engine's first step, which is in no other sum: in it vLLM sets up and compiles what it needs (measured on a busy machine: 35 s, where 3
    would have done), and it happens once."""

    seconds: float = 0.0
    steps: int = 0
    prefilled: int = 0
    decoded: int = 0
    warm_up_s: float = 0.0
    stepping_s: float = 0.0

    def __sub__(self, before: Spent) -> Spent:
        return Spent(*(getattr(self, one.name) - getattr(before, one.name) for one in fields(self)))


class StepLog:
    """`kept`: steps in order, all of them but the first up to MOST_KEPT. `spent`: sums over all."""

    def __init__(self) -> None:
        self.kept: list[Step] = []
        self._stride = 1
        self._seconds, self._steps, self._prefilled, self._decoded = 0.0, 0, 0, 0
        self._warm_up_s: float | None = None
        self._stepping_s = 0.0

    def stepped(self, seconds: float) -> None:
        """Counts wall time inside the engine, but for that of its first step."""
        if self._steps:
            self._stepping_s += seconds

    def add(self, step: Step) -> None:
        """Counts a step in."""
        if self._warm_up_s is None:
            self._warm_up_s = step.seconds
            return
        if self._steps % self._stride == 0:
            self.kept.append(step)
        self._seconds += step.seconds
        self._steps += 1
        self._prefilled += step.prefilled
        self._decoded += step.decoded
        if len(self.kept) > MOST_KEPT:
            self.kept, self._stride = self.kept[::2], 2 * self._stride

    def join(self, steps: Sequence[Step], spent: Spent) -> None:
        """Counts in what another engine has done: sums, and those of its steps that it kept."""
        self.kept += steps
        self._seconds += spent.seconds
        self._steps += spent.steps
        self._prefilled += spent.prefilled
        self._decoded += spent.decoded
        self._warm_up_s = (self._warm_up_s or 0.0) + spent.warm_up_s
        self._stepping_s += spent.stepping_s
        while len(self.kept) > MOST_KEPT:
            self.kept, self._stride = self.kept[::2], 2 * self._stride

    def since(self, before: Spent) -> list[Step]:
        """Steps kept, of those taken after `before`, an earlier `spent` of this log."""
        return self.kept[-(-before.steps // self._stride) :]  # the first kept is step 0, then every _stride-th

    @property
    def spent(self) -> Spent:
        return Spent(self._seconds, self._steps, self._prefilled, self._decoded, self._warm_up_s or 0.0, self._stepping_s)


@runtime_checkable
class Recording(Protocol):
    """An engine that writes its steps down; others need not."""

    steps: StepLog


class StepRecorder:
    """A stat logger of vLLM (`vllm.v1.metrics.loggers.StatLoggerBase`): is told after each step what was computed in it, also by an engine
    in a process of its own, and writes it down with the wall time since the step before (measured: 30 microseconds a step).

    Tokens come from the scheduler's own count of the step (`SchedulerStats.iteration_details`, there with the engine's argument
    `enable_logging_iteration_details`), which follows a prompt that is computed in chunks over several steps. Its `elapsed_ms` is not used:
    in an engine in this process the model has run before that clock starts. Without these details a prompt's tokens count in the step of
    its first output token.
    """

    def __init__(self, log: StepLog) -> None:
        self._log = log
        self._since: float | None = None
        self._prefilled = self._decoded = 0

    def begin(self) -> None:
        """Work comes into an empty engine."""
        self._since = time.monotonic()
        self._prefilled = self._decoded = 0

    def record(self, scheduler_stats: Any, iteration_stats: Any, mm_cache_stats: Any = None, engine_idx: int = 0) -> None:
        """Called by vLLM after a step."""
        now = time.monotonic()
        details = getattr(scheduler_stats, "iteration_details", None)
        if details is not None:
            again = details.num_generation_tokens - details.num_generation_requests  # computed once more after a preemption
            self._prefilled += details.num_ctx_tokens + max(again, 0)
        elif iteration_stats is not None:
            self._prefilled += iteration_stats.prompt_token_stats.computed
        self._decoded += iteration_stats.num_generation_tokens if iteration_stats is not None else 0
        if self._since is None or not (self._prefilled or self._decoded):
            return  # nothing was computed: what passed belongs to the step that comes
        running, waiting = (getattr(scheduler_stats, name, 0) for name in ("num_running_reqs", "num_waiting_reqs"))
        sequences = details.num_ctx_requests + details.num_generation_requests if details is not None else None
        ended = len(iteration_stats.finished_requests) if iteration_stats is not None else 0
        self._log.add(Step(now - self._since, self._prefilled, self._decoded, running, waiting, sequences, ended))
        self._since, self._prefilled, self._decoded = now, 0, 0

    def log(self) -> None: ...
    def log_engine_initialized(self) -> None: ...
    def record_sleep_state(self, *state: Any) -> None: ...
    def record_admission_rejection(self, reason: str) -> None: ...
