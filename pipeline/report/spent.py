"""Where a run's tokens and its time went, out of its manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of a run. `what`: in words."""

    name: str
    seconds: float
    what: str


@dataclass(frozen=True, slots=True)
class Spent:
    """`tasks`: rows of the manifest's `costs`, each task with its stages behind it. `divided`: whether the engine's time could be divided
    into prefill and decode. `predicted` and `measured`: seconds of engine."""

    phases: Sequence[Phase]
    tasks: Sequence[Mapping[str, Any]]
    divided: bool
    predicted: float | None
    measured: float | None

    @property
    def seconds(self) -> float:
        """All of it."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def whole_tasks(self) -> list[Mapping[str, Any]]:
        """Without their stages."""
        return [row for row in self.tasks if row["stage"] is None]


def spent(manifest: Manifest) -> Spent:
    """Steps of the engine hold prompt tokens of some requests and output tokens of others at once, so its time is divided by what each
    costs by the run's own fit: so many seconds a prompt token, an output token and a step, brought to the measured total."""
    seconds, costs = manifest.get("seconds", {}), manifest.get("costs") or {}
    engine, model = costs.get("engine") or {}, costs.get("model") or {}
    worked, idle, warm_up = (float(engine.get(name) or 0) for name in ("seconds", "idle", "warm_up_s"))
    idle = idle or float(seconds.get("idle") or 0)
    parts = _divided(engine, model.get("after") or {}, worked)
    others = max(float(seconds.get("generate") or 0) - worked - idle - warm_up, 0.0)
    phases = [
        Phase("read", float(seconds.get("read") or 0), "the dump: files, checks, rejects"),
        Phase("load", float(seconds.get("load") or 0), "tokenizer, model and engine"),
        Phase("first step", warm_up, "the engine sets itself up"),
        *(parts or [Phase("engine", worked, "the engine at work")]),
        Phase("idle", idle, "the engine without a request"),
        Phase("around it", others, "calibration, tokens, plans, store and tables"),
    ]
    tasks = sorted(costs.get("tasks") or (), key=lambda row: (row["task"], row["stage"] or ""))
    return Spent([one for one in phases if one.seconds >= 0.0005], tasks, bool(parts), model.get("predicted_s"), model.get("measured_s"))


def _divided(engine: Mapping[str, Any], rates: Mapping[str, Any], seconds: float) -> list[Phase]:
    weights = {
        "prefill": ((rates.get("prefill_s") or 0) * (engine.get("prefilled") or 0), "the engine reads prompts"),
        "decode": ((rates.get("decode_s") or 0) * (engine.get("decoded") or 0), "the engine writes answers"),
        "steps": ((rates.get("step_s") or 0) * (engine.get("steps") or 0), "what each step of the engine costs, whatever is in it"),
    }
    total = sum(weight for weight, _ in weights.values())
    return [Phase(name, seconds * weight / total, what) for name, (weight, what) in weights.items()] if total and seconds else []
