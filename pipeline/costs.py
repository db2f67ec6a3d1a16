"""What steps of an engine cost, measured and predicted.

Continuous batching puts prompt tokens of some requests and output tokens of others into one step, so a request's own seconds cannot be
added up: those of neighbours are the same seconds. Steps can: they follow one another, and together they are the time in which the engine
had work. The model is a line through them, seconds = step_s + prefill_s * prefilled + decode_s * decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pipeline.tasks.known import KINDS

FOLDS = 5
"""Stretches of a run that are predicted from the others."""
LEAST_STEPS = 50
"""Of a run that is fitted."""
MOST_HISTORY = 1_000
"""Steps that all runs before count for, at most, beside those of a new one."""
MOST_WEIGHT = 0.5
"""Of one new run, where earlier ones predict well: a night on a busy machine is not the whole truth."""
TRUSTED = 0.15
"""An error above this is a poor prediction."""
_PULL = 1e-4
"""Of the proportions known before, against columns scaled to length 1. Decides only what the steps leave open."""

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an engine. `seconds` of wall time, from the end of the step before, or from the first request into an empty engine, to
    the end of this one; `prefilled`: prompt tokens computed, those from the cache left out, those computed again after a preemption
    included; `decoded`: output tokens made, a request's first one included; `running` and `waiting`: requests inside, after it;
    `sequences`: requests that something was computed for, None where the engine does not say; `ended`: answers that ended with it."""

    seconds: float
    prefilled: int
    decoded: int
    running: int
    waiting: int
    sequences: int | None = None
    ended: int = 0

    @property
    def inside(self) -> int:
        """Requests inside as it began."""
        return self.running + self.waiting + self.ended


@dataclass(frozen=True, slots=True)
class CostModel:
    """Seconds that an engine takes: a step costs `step_s`, an uncached prompt token in it `prefill_s`, an output token `decode_s`.

    `output_tokens`: expected tokens of an answer, by task and stage. `error`: relative error of predicted against measured seconds of work
    that it was not fitted on, None before any was measured. `steps`: how many it was fitted on; 0 for rates from documentation.
    """

    step_s: float
    prefill_s: float
    decode_s: float
    output_tokens: Mapping[tuple[str, str], float] = field(default_factory=dict)
    steps: int = 0
    error: float | None = None

    def seconds(self, prefilled: float, decoded: float, steps: float = 0.0) -> float:
        """Of so many uncached prompt tokens and output tokens in so many steps."""
        return self.step_s * steps + self.prefill_s * prefilled + self.decode_s * decoded

    def answer_tokens(self, task: str, stage: str) -> float:
        """Expected output tokens of one answer; 1 for what was never measured."""
        return self.output_tokens.get((task, stage), 1.0)

    @classmethod
    def fit(cls, steps: Sequence[Step], before: CostModel, output_tokens: Mapping[tuple[str, str], float] | None = None) -> CostModel:
        """Least squares over steps, no rate below 0. Raises ValueError without a step that took time.

        Where the steps cannot tell rates apart (every step with as many output tokens per prompt token), their proportions are those of
        `before`: ridge regression towards it (Hoerl and Kennard 1970), brought to these steps' total. `error`: every fifth of the steps, a
        stretch in time, is predicted as a whole from the others; the mean of the relative errors. It holds for such work as these steps
        did; of another mix of prompt and output tokens it says nothing. None for fewer than two steps a stretch.
        """
        table, seconds = _columns(steps)
        if not seconds.sum() > 0:
            raise ValueError("no step took any time")
        rates = _rates(table, seconds, before)
        step_s, prefill_s, decode_s = rates.tolist()
        return cls(step_s, prefill_s, decode_s, dict(output_tokens or {}), len(steps), _held_out(table, seconds, before))

    def updated(self, new: CostModel) -> CostModel:
        """This model after another run: the mean of both, weighed by their steps / (1 + (error / TRUSTED)^2), of the earlier runs
        MOST_HISTORY steps at most. The new run weighs MOST_WEIGHT at most, unless this model's error is above TRUSTED. Rates from
        documentation count for nothing, expected tokens that only one of them knows are taken as they are.

        The mean of two lines predicts the mean of their predictions, so rates that were told apart badly do no harm together."""
        if not self.steps:
            return replace(new, output_tokens={**self.output_tokens, **new.output_tokens})
        history = min(self.steps, MOST_HISTORY)
        old_weight, new_weight = (steps / (1 + ((one.error or 0.0) / TRUSTED) ** 2) for steps, one in ((history, self), (new.steps, new)))
        weight = new_weight / (old_weight + new_weight)
        if (self.error or 0.0) <= TRUSTED:
            weight = min(weight, MOST_WEIGHT)

        def mean(old: float, latest: float) -> float:
            return (1 - weight) * old + weight * latest

        tokens = {name: mean(self.output_tokens.get(name, latest), latest) for name, latest in new.output_tokens.items()}
        return CostModel(
            mean(self.step_s, new.step_s),
            mean(self.prefill_s, new.prefill_s),
            mean(self.decode_s, new.decode_s),
            {**self.output_tokens, **tokens},
            history + new.steps,
            new.error,
        )


OUTPUT_TOKENS: Mapping[tuple[str, str], float] = {
    (name, stage): tokens for name, kind in KINDS.items() for stage, tokens in kind.output_tokens.items()
}
"""Mean of an answer of the embedded model, in 1,087 requests about 30 restaurants; one token for the questions whose answer is one."""
_GPU = CostModel(step_s=0.01, prefill_s=1 / 20_000, decode_s=1 / 2_000, output_tokens=OUTPUT_TOKENS)
ASSUMED: Mapping[str, CostModel] = {
    "cpu": CostModel(step_s=0.0, prefill_s=1 / 600, decode_s=1 / 200, output_tokens=OUTPUT_TOKENS),
    "gpu": _GPU,
    "remote": _GPU,
}
"""Rates before any run was measured. cpu: the embedded model on two cores, about 600 uncached prompt tokens/s and 200 output tokens/s, all
that a step costs included. gpu: a guess for a model of a few billion parameters; nothing was measured. remote: a GPU, most likely."""


def assumed(device: str) -> CostModel:
    """Of a device that nothing is known of; `steps` is 0."""
    return ASSUMED.get(device, ASSUMED["cpu"])


def _columns(steps: Sequence[Step]) -> tuple[Numbers, Numbers]:
    """Shapes (steps, 3) and (steps,)."""
    table = np.array([(1.0, step.prefilled, step.decoded) for step in steps], dtype=np.float64).reshape(-1, 3)
    return table, np.array([step.seconds for step in steps], dtype=np.float64)


def _rates(table: Numbers, seconds: Numbers, before: CostModel) -> Numbers:
    """Non-negative least squares (Lawson and Hanson 1974), shape (3,)."""
    from scipy.optimize import nnls

    known = np.array([before.step_s, before.prefill_s, before.decode_s])
    expected = float((table @ known).sum())
    target = known * (seconds.sum() / expected) if expected > 0 else known * 0
    length = np.linalg.norm(table, axis=0)
    length[length == 0] = 1.0  # then the pull alone decides
    pull = np.sqrt(_PULL)
    rows = np.vstack([table / length, pull * np.eye(len(known))])
    found: Numbers = nnls(rows, np.concatenate([seconds, pull * length * target]))[0] / length
    return found


def _held_out(table: Numbers, seconds: Numbers, before: CostModel) -> float | None:
    if len(seconds) < 2 * FOLDS:
        return None
    errors = []
    for stretch in np.array_split(np.arange(len(seconds)), FOLDS):
        others = np.delete(np.arange(len(seconds)), stretch)
        measured = seconds[stretch].sum()
        if measured > 0 and seconds[others].sum() > 0:
            predicted = (table[stretch] @ _rates(table[others], seconds[others], before)).sum()
            errors.append(abs(predicted - measured) / measured)
    return float(np.mean(errors)) if errors else None
