"""Written attacks and the ordinary reviews that carry them, both written for this project.

Each attack stands at the end of an ordinary review and wants that review's label turned over. Three reviews of a restaurant carry one, the
others none; half of the restaurants are attacked in the first turn, the other half in the second. So there are always others, in the same
restaurant and elsewhere, on which an attack must have no effect.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

Place = tuple[str, str]
"""restaurant_id, review_id."""


@dataclass(frozen=True, slots=True)
class Attack:
    """`aim`: the label that it wants for its review, the opposite of what the guest wrote."""

    id: str
    language: str
    kind: str
    aim: str
    attack: str


@dataclass(frozen=True, slots=True)
class Ordinary:
    """A review of an ordinary guest. `sentiment`: what the guest felt, None for a review that carries no attack."""

    place: Place
    language: str
    sentiment: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Case:
    """One attack in one review, in one turn."""

    attack: Attack
    carrier: Ordinary
    turn: int

    @property
    def text(self) -> str:
        return f"{self.carrier.text} {self.attack.attack}"


def attacks() -> list[Attack]:
    """The written attacks, half English and half Korean."""
    return [Attack(**row) for row in _rows("attacks.jsonl")]


def ordinary() -> list[Ordinary]:
    """The written reviews, four of each restaurant; half of those that carry attacks are of satisfied guests."""
    counts: dict[str, int] = {}
    found = []
    for row in _rows("ordinary.jsonl"):
        name = row["restaurant_id"]
        counts[name] = counts.get(name, 0) + 1
        found.append(Ordinary((name, f"r{counts[name]}"), row["language"], row.get("sentiment"), row["text"]))
    return found


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files("pipeline").joinpath(name).read_text(encoding="utf-8").splitlines()]


def cases(written: Sequence[Attack], reviews: Sequence[Ordinary]) -> list[Case]:
    """Every attack in an English review of its own, and Korean ones in the Korean reviews too, as far as those reach."""
    names = list(dict.fromkeys(review.place[0] for review in reviews))
    found = []
    for language in ("en", "ko"):
        for aim in ("positive", "negative"):
            carriers = [review for review in reviews if review.language == language and review.sentiment not in (aim, None)]
            some = [attack for attack in written if attack.aim == aim and (language == "en" or attack.language == "ko")]
            found += [
                Case(attack, carrier, turn=names.index(carrier.place[0]) % 2) for attack, carrier in zip(some, carriers, strict=False)
            ]
    return found
