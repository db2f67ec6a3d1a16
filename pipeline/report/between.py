"""What was set otherwise in one run than in another, out of their manifests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Manifest = Mapping[str, Any]

KINDS: Mapping[str, tuple[str, ...]] = {
    "prompt": ("wording",),
    "model": ("model", "revision"),
    "calibration": ("calibration",),
    "setting": ("settings", "tasks", "order", "urgent", "max_overtake"),
    "input": ("inputs", "columns", "selection", "updated"),
    "version": ("versions",),
}
"""Entries of a manifest, by what a person would call them."""
OF_ANSWERS = ("wording", "identity", "calibration", "tasks")
OF_ANSWERS_SET = ("chunk_tokens", "max_reviews", "two_stage")
"""Entries, and settings, that decide what is said of the same reviews; `identity` is of model and engine."""
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Difference:
    """`kind`: of KINDS. `name`: with dots where it is below another."""

    kind: str
    name: str
    before: str
    after: str


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """By kind, in the order of KINDS."""
    found = []
    for kind, entries in KINDS.items():
        for entry in entries:
            before, after = (_flat(entry, _comparable(entry, one.get(entry))) for one in (old, new))
            for name in dict.fromkeys([*before, *after]):
                was, now = before.get(name, ABSENT), after.get(name, ABSENT)
                if was != now:
                    found.append(Difference(kind, name, was, now))
    return found


def same_questions(old: Manifest, new: Manifest) -> bool:
    """Whether equal reviews have equal fingerprints in both runs: then a fingerprint tells whether reviews have changed."""
    had, has = (one.get("settings", {}) for one in (old, new))
    versions = [one.get("versions", {}).get("review-digest") for one in (old, new)]
    return (
        versions[0] == versions[1]
        and all(old.get(name) == new.get(name) for name in OF_ANSWERS)
        and all(had.get(name) == has.get(name) for name in OF_ANSWERS_SET)
    )


def _comparable(entry: str, value: Any) -> Any:
    """Files by content: a dump may have moved."""
    if entry != "inputs":
        return value
    return {str(one["path"]): f"{one.get('digest') or 'not known'}" for one in value or ()}


def _flat(name: str, value: Any) -> dict[str, str]:
    if isinstance(value, Mapping) and value:
        return {deeper: said for key, below in value.items() for deeper, said in _flat(f"{name}.{key}", below).items()}
    return {name: _said(value)}


def _said(value: Any) -> str:
    if value is None or value in ([], {}):
        return ABSENT
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counted(found: Sequence[Difference]) -> Iterator[tuple[str, list[Difference]]]:
    """Differences by kind, kinds without one left out."""
    for kind in KINDS:
        if some := [one for one in found if one.kind == kind]:
            yield kind, some
