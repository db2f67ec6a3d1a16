"""What steps of an engine cost, measured and predicted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an engine. `seconds` of wall time; `prefilled`: prompt tokens computed, those from the cache left out; `decoded`: output
    tokens made; `running` and `waiting`: requests inside, after it."""

    seconds: float
    prefilled: int
    decoded: int
    running: int
    waiting: int


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
