"""The accounts of one run: what its requests cost, how well that was predicted, and what the next run will expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl

from pipeline import known_costs
from pipeline.costs import LEAST_STEPS, CostModel, assumed
from pipeline.measured_costs import Requests, answer_tokens, asked_of_engine, by_task
from pipeline.runtime import Runtime
from pipeline.steps import Spent


class Accounts:
    """Opened before a run's first request of its own, that is after calibrating; settled after its last answer."""

    def __init__(self, runtime: Runtime, store: Path, warn: Callable[[str], None]) -> None:
        self._runtime, self._store, self._warn = runtime, store, warn
        self._name = known_costs.name_of(runtime)
        device = str(runtime.machine.settings.get("device"))
        self.before = known_costs.known(store, self._name, warn) or assumed(device)
        self._opened = runtime.engine.spent

    def settle(self, requests: Requests, idle_s: float) -> dict[str, Any]:
        """For the manifest, under `costs`. `requests`: rows of `requests.parquet`. A run of LEAST_STEPS steps or more changes the model
        that is kept beside the store.

        `engine`: seconds in which it had work, from the end of one step to the end of the next, what this program does between two steps
        included; together with `idle`, and `warm_up_s` where the engine's first step was in this run and not in a calibration before it,
        that is the time from the first request to the last answer. `tasks`: see `by_task`. `model`: what the model of before says of as
        many tokens in as many steps, beside the measured seconds.
        """
        kept = self._runtime.engine.steps.kept
        spent = self._runtime.engine.spent - self._opened
        error = self._relative_error(spent)
        now = self.before
        if len(kept) >= LEAST_STEPS:
            fitted = CostModel.fit(kept, self.before, answer_tokens(asked_of_engine(requests.lazy())))
            now = self.before.updated(fitted)
            if self.before.steps and error is not None:  # a whole run of other work tells more than parts of the same
                now = replace(now, error=error)
            about = {"model": self._runtime.model.name, "settings": dict(self._runtime.machine.settings)}
            known_costs.keep(self._store, self._name, now, about, self._warn)
        return {
            "engine": {**{name: round(value, 3) for name, value in asdict(spent).items()}, "idle": round(idle_s, 3)},
            "tasks": by_task(requests, spent.seconds if spent.steps else None, now),
            "model": {
                "predicted_s": round(self.before.seconds(spent.prefilled, spent.decoded, spent.steps), 3) if spent.steps else None,
                "measured_s": round(spent.seconds, 3) if spent.steps else None,
                "relative_error": None if error is None else abs(round(error, 4)),
                **self._predicted_tokens(requests),
                "before": _rates(self.before),
                "after": _rates(now),
            },
        }

    def _relative_error(self, spent: Spent) -> float | None:
        if not spent.seconds:
            return None
        return abs(self.before.seconds(spent.prefilled, spent.decoded, spent.steps) - spent.seconds) / spent.seconds

    def _predicted_tokens(self, requests: Requests) -> dict[str, float]:
        """Output tokens expected of the requests that were asked, and those that came."""
        by_stage = asked_of_engine(requests.lazy()).group_by("task", "stage").agg(pl.len(), pl.col("output_tokens").sum())
        rows = by_stage.collect(engine="streaming").rows()
        expected = sum(self.before.answer_tokens(task, stage) * number for task, stage, number, _ in rows)
        return {"predicted_output_tokens": round(expected, 1), "output_tokens": sum(tokens for *_, tokens in rows)}


def _rates(model: CostModel) -> dict[str, Any]:
    error = None if model.error is None else round(model.error, 4)
    return {"step_s": model.step_s, "prefill_s": model.prefill_s, "decode_s": model.decode_s, "steps": model.steps, "error": error}
