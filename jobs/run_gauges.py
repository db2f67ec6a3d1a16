"""The figures of a run that a monitoring system watches, and what they mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "review_digest_"
OF_ALL = ("command", "output")
"""Labels that every figure has: several outputs on one machine stay apart."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """`labels`: beside those of OF_ALL."""

    help: str
    labels: tuple[str, ...] = ()


GAUGES = {
    "last_run_timestamp_seconds": Gauge("When the last run ended, however it ended."),
    "last_run_duration_seconds": Gauge("How long the last run took."),
    "last_run_exit_code": Gauge("Exit code of the last run; 0 is good, 75 may succeed when tried again."),
    "last_success_timestamp_seconds": Gauge("When results were last committed or found up to date; 0 for never."),
    "phase_duration_seconds": Gauge("How long the phases of the last committed run took.", ("phase",)),
    "engine_idle_seconds": Gauge("Of the phase generate, the time in which the engine had no request."),
    "restaurants": Gauge("Restaurants in the committed results by status.", ("status",)),
    "queries": Gauge("Search queries in the committed results by status.", ("status",)),
    "missing": Gauge("Of what the last committed run selected, what failed or stayed pending."),
    "reviews": Gauge("Reviews that the last committed run analysed."),
    "rejects": Gauge("Rows that the last committed run could not use."),
    "requests": Gauge("Answers that the last committed run took, from the engine or known already.", ("source",)),
    "store_lookups": Gauge("Questions that the last committed run looked up in the store."),
    "store_hits": Gauge("Of the questions looked up, those that the store could answer."),
    "tokens": Gauge("Tokens of the last committed run: prompt_computed, prompt_cached (by the prefix cache), output.", ("kind",)),
    "prompt_cache_ratio": Gauge("Share of the prompt tokens that came from the prefix cache."),
    "rating_agreement_ratio": Gauge("Share of sentiment labels that agree with the ratings, both sides weighed alike."),
    "deadlines": Gauge("Deadlines of restaurants, met and missed.", ("result",)),
    "service_level_seconds": Gauge("Longest time that a service level allows.", ("level",)),
    "service_level_attainment_ratio": Gauge("Share of the requests or restaurants that met the service level.", ("level",)),
    "goodput_restaurants_per_second": Gauge("Restaurants a second that met the service level.", ("level",)),
    "goodput_requests_per_second": Gauge("Requests a second that met the service level.", ("level",)),
    "goodput_tokens_per_second": Gauge("Tokens a second of what met the service level.", ("level",)),
}
STATUSES = ("ok", "partial", "failed", "pending")
OF_A_COMMIT = frozenset(GAUGES) - {name for name in GAUGES if name.startswith("last_")}

Key = tuple[str, tuple[str, ...]]
"""A gauge's name and the values of its labels."""


def figures(manifest: Mapping[str, Any], seconds: Mapping[str, float]) -> dict[Key, float]:
    """The gauges of OF_A_COMMIT, those left out that this run has no figure for. `seconds`: by phase, as in the manifest."""
    return {(name, labels): float(value) for name, labels, value in _found(manifest, seconds) if value is not None}


def _found(manifest: Mapping[str, Any], seconds: Mapping[str, float]) -> Iterator[tuple[str, tuple[str, ...], float | None]]:
    for phase, took in seconds.items():
        if phase == "idle":  # part of another one: phases add up to the run
            yield "engine_idle_seconds", (), took
        else:
            yield "phase_duration_seconds", (phase,), took
    counts, tokens, store = manifest["counts"], manifest["tokens"], manifest.get("store") or {}
    for rows in ("restaurants", "queries"):
        for status in STATUSES if rows in counts else ():  # those of no row, too: a rule watches a series that is there
            yield rows, (status,), counts[rows].get(status, 0)
    for name in ("missing", "reviews", "rejects"):
        yield name, (), counts.get(name)
    yield "requests", ("engine",), counts["requests"] - counts["answers_reused"]
    yield "requests", ("known",), counts["answers_reused"]
    yield "store_lookups", (), store.get("looked_up")
    yield "store_hits", (), store.get("served")
    yield "tokens", ("prompt_computed",), tokens["prompt"] - tokens["cached"]
    yield "tokens", ("prompt_cached",), tokens["cached"]
    yield "tokens", ("output",), tokens["output"]
    yield "prompt_cache_ratio", (), tokens["cached"] / tokens["prompt"] if tokens["prompt"] else None
    yield "rating_agreement_ratio", (), (manifest.get("rating_agreement") or {}).get("balanced")
    for result in ("met", "missed") if manifest.get("deadlines") else ():
        yield "deadlines", (result,), manifest["deadlines"][result]
    for level in manifest.get("service_levels") or ():
        yield "service_level_seconds", (level["level"],), level["seconds"]
        yield "service_level_attainment_ratio", (level["level"],), level["attainment"]
        for what, rate in level["goodput"].items():
            yield f"goodput_{what}_per_second", (level["level"],), rate
