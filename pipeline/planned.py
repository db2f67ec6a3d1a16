"""What a plan says: figures, for a page or as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipeline.amounts import Amount, Amounts, Longest
from pipeline.costs import OUTPUT_TOKENS, CostModel
from pipeline.ranking import Ranked
from pipeline.scaled_plan import OnWorkers


@dataclass(frozen=True, slots=True)
class Check:
    """One stage on the restaurants that were counted exactly beside the estimate: requests and prompt tokens, estimated and counted."""

    task: str
    stage: str
    estimated_requests: float
    exact_requests: float
    estimated_tokens: float
    exact_tokens: float


@dataclass(frozen=True, slots=True)
class Duration:
    """Seconds without the start of the engine. `measured`: steps that the rates were fitted on, 0 for the documented ones. `error`:
    relative, None where it is not known."""

    seconds: float
    start_s: float | None
    measured: int
    error: float | None


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. `kv_tokens`: what the KV cache holds. `kv_needed`: tokens of as many of the longest requests as run at once. `prompts`: held
    where an order wants all prompts before the first goes. `plan_peak`: of this plan, which reads and groups the dump as a run does.
    `in_files`: the reviews are too many to be held, and are in memory a part at a time."""

    kv_bytes: int | None
    kv_bytes_per_token: int | None
    kv_tokens: int | None
    at_once: int
    kv_needed: int
    reviews: int
    prompts: int
    plan_peak: int
    in_files: bool = False


@dataclass(frozen=True, slots=True)
class Planned:
    """`restaurants`: to be asked about, carried over unchanged, without a usable review. `method`: how tokens were counted; `checks`: how
    far an estimate was off. `assumed`: languages of which is not known yet whether the model reads them, with what was assumed. `due`:
    comparisons of unchanged restaurants that may change. `on_workers`: where it was asked for."""

    model: str
    known_revision: bool
    order: str
    nothing_to_do: bool
    rejects: Mapping[str, int]
    restaurants: Mapping[str, int]
    reviews: Mapping[str, int]
    chunks: int
    method: Literal["exact", "estimated"]
    sampled_restaurants: int
    checks: list[Check]
    assumed: Mapping[str, bool]
    unread: list[str]
    due: int
    amounts: Amounts
    output_tokens: Mapping[tuple[str, str], float]
    longest: list[Longest]
    refused: list[Longest]
    truncated: int
    first: list[Ranked]
    last: list[Ranked]
    duration: Duration | None
    memory: Memory
    evicted: bool
    limits: list[str]
    on_workers: OnWorkers | None = None

    @property
    def total(self) -> Amount:
        """Over all stages."""
        every = Amount()
        for _, one in self.amounts:
            for name in ("requests", "least", "most", "prompt_tokens", "cached_tokens", "stored", "stored_tokens"):
                setattr(every, name, getattr(every, name) + getattr(one, name))
        return every

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        told = {name: getattr(self, name) for name in self.__slots__ if name not in ("amounts", "output_tokens", "on_workers")}
        rows = [
            {"task": task, "stage": stage, **asdict(one), "output_tokens": self.output_tokens[task, stage]}
            for (task, stage), one in self.amounts
        ]
        found = {name: _plain(value) for name, value in told.items()} | {"requests": rows, "total": asdict(self.total)}
        return found if self.on_workers is None else {**found, "on_workers": self.on_workers.plain()}


def expected_output(amounts: Amounts, rates: CostModel | None) -> dict[tuple[str, str], float]:
    """Output tokens by task and stage: measured ones where there are any."""
    known = dict(OUTPUT_TOKENS) | (dict(rates.output_tokens) if rates else {})
    return {which: one.requests * known.get(which, 1.0) for which, one in amounts}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value
