"""What several runs that are one have cost together: this run and the shards that it takes over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pipeline.costs import CostModel
from pipeline.measured_costs import Requests, by_task

Told = Mapping[str, Any]
"""Part of a manifest."""


def summed(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By name; one that is not in all of them counts as 0 elsewhere."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _rounded(sum(part.get(name, 0) for part in parts)) for name in names}


def costs(own: Told, others: Sequence[Told], requests: Requests) -> dict[str, Any]:
    """`own` and `others`: as `accounts.Accounts.settle` tells them; `requests`: of all. Seconds of engines are added up, wherever they ran;
    the rates are those of this run."""
    engine = summed([one["engine"] for one in (own, *others)])
    rates = CostModel(*(own["model"]["after"][name] for name in ("step_s", "prefill_s", "decode_s")))
    tasks = by_task(requests, engine["seconds"] if engine["steps"] else None, rates)
    return {"engine": engine, "tasks": tasks, "model": _model([one["model"] for one in (own, *others)])}


def _model(models: Sequence[Told]) -> dict[str, Any]:
    """How well all of it was predicted; the rates are those of the first."""
    predicted, measured = (_total(one[name] for one in models) for name in ("predicted_s", "measured_s"))
    error = round(abs(predicted - measured) / measured, 4) if predicted is not None and measured else None
    tokens = summed([{name: one[name] for name in ("predicted_output_tokens", "output_tokens")} for one in models])
    return {**models[0], "predicted_s": predicted, "measured_s": measured, "relative_error": error, **tokens}


def _total(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return _rounded(sum(known)) if known else None


def _rounded(value: float) -> float:
    return round(value, 3)  # a whole number stays one
