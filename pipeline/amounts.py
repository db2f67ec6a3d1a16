"""How much of what: requests and tokens by task and stage, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

Certainty = Literal["exact", "estimated", "expected"]
"""`exact`: counted on the very requests. `estimated`: from bytes and a sample of restaurants. `expected`: depends on answers."""


@dataclass
class Amount:
    """Requests that would be asked, expected and between `least` and `most`; their tokens, those that the prefix cache can serve among
    them; and the requests that are answered already."""

    requests: float = 0.0
    least: int = 0
    most: int = 0
    prompt_tokens: float = 0.0
    cached_tokens: float = 0.0
    stored: int = 0
    stored_tokens: float = 0
    certainty: Certainty = "exact"

    def asked(self, prompt_tokens: int, cached_tokens: int) -> None:
        """One request more, for certain."""
        self.requests += 1
        self.least += 1
        self.most += 1
        self.prompt_tokens += prompt_tokens
        self.cached_tokens += cached_tokens

    def expect(self, requests: float, prompt_tokens: float, cached_tokens: float, least: int = 0, most: int = 0) -> None:
        """So many requests more, of so many tokens altogether, with bounds for their number."""
        if requests or most:
            self.certainty = "expected"
            self.requests += requests
            self.prompt_tokens += prompt_tokens
            self.cached_tokens += cached_tokens
            self.least += least
            self.most += most


@dataclass
class Amounts:
    """By task and stage, in the order in which they were first met."""

    by: dict[tuple[str, str], Amount] = field(default_factory=dict)

    def of(self, task: str, stage: str) -> Amount:
        """The amount of one stage, to be added to."""
        return self.by.setdefault((task, stage), Amount())

    def __iter__(self) -> Iterator[tuple[tuple[str, str], Amount]]:
        return iter(self.by.items())


@dataclass(frozen=True, slots=True)
class Longest:
    """A long request. `needs`: tokens of prompt and answer."""

    task: str
    stage: str
    restaurant_id: str
    review_count: int
    prompt_tokens: int
    needs: int
