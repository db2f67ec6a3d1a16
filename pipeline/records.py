"""The frozen types that cross the borders between files. Polars at both ends, these in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.uint32]
"""Token ids, shape (tokens,). An array weighs a ninth of a Python list; it becomes a list only when the engine takes it."""

COMPARISON_STAGES = ("compare", "strength")
"""Stages of requests that wait for the first stages of a restaurant's peers."""
Status = Literal["ok", "partial", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class Review:
    """One usable row of a dump. `language` is by script: `ko` with a third of Hangul, else `en`."""

    review_id: str
    text: str
    language: str
    rating: float | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Restaurant:
    """One group of a dump, reviews in order of time, then id. `arrival` is its place in the dump, from 0; `estimate` in prefill tokens,
    `prompt_tokens` with those from the prefix cache, both before it is tokenised.

    `urgent`: a person said so. `turn`: lower ones go first, so that nobody waits too long (`aging.Aging`).
    """

    restaurant_id: str
    reviews: tuple[Review, ...]
    restaurant_name: str | None = None
    rejected_count: int = 0
    arrival: int = 0
    estimate: int = 0
    prompt_tokens: int = 0
    urgent: bool = False
    turn: int = 0


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one answer is drawn. Always greedy.

    `choices` asks for the exact log-probabilities of these token ids instead of text (then one token, not detokenised);
    `regex` or `schema` (JSON schema as text) bounds the answer's form. All of them are part of a request's key.
    """

    max_tokens: int
    choices: tuple[int, ...] = ()
    regex: str | None = None
    schema: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt for the model. `key` is a digest of prompt and sampling: equal questions have equal keys.

    `chunk` counts the chunk or the review within its restaurant; it keeps what shares a prefix together in the order.
    `shared` is the number of leading tokens that the requests of the same chunk have in common, `common` of those that all requests of its
    kind have in common, whatever their restaurant.
    """

    key: str
    task: str
    stage: str
    restaurant_id: str
    prompt: TokenIds
    sampling: Sampling
    chunk: int = 0
    shared: int = 0
    common: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one request. Seconds are the engine's own: queue until scheduled, prefill until the first token, decode after it;
    `first_token_s` from submission until the first token was here, None for an answer from the store.

    `finish_reason` is vLLM's (`stop`, `length`); `error` is None unless the request failed, and then there is no text.
    """

    key: str
    text: str = ""
    logprobs: Mapping[int, float] = field(default_factory=dict)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    queue_s: float | None = None
    prefill_s: float | None = None
    decode_s: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    first_token_s: float | None = None

    @property
    def usable(self) -> bool:
        """Neither failed nor ended before its end: vLLM also says `length`, `abort`, `error`, `repetition`."""
        return self.error is None and self.finish_reason == "stop"


@dataclass(frozen=True, slots=True)
class Praise:
    """A restaurant's table of praise: of `reviews` that the model could label, how many praise each aspect. All that its peers need."""

    reviews: int
    praising: Mapping[str, int]

    def share(self, aspect: str) -> float:
        """Between 0 and 1."""
        return self.praising.get(aspect, 0) / self.reviews if self.reviews else 0.0


Plan = Generator[Sequence[Request], Any, Any]
"""What one task does for one restaurant: yields requests, is sent their answers by key, and returns the task's result."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    """Of one review. `score` is the calibrated log-odds of a satisfied guest, 0 the boundary; both None where the model cannot tell."""

    review_id: str
    label: str | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """Of one restaurant. `review_ids`: the reviews behind each sentence. `kind`: `generated` by the model, `extractive` (the reviews' own
    sentences) or `mixed`. `support`: share of the generated sentences that a review supported; the others were dropped."""

    text: str
    sentences: tuple[str, ...]
    review_ids: tuple[tuple[str, ...], ...]
    kind: str
    support: float | None


@dataclass(frozen=True, slots=True)
class Strength:
    """One thing guests praise, with the reviews that say so; `quote` stands in one of them, letter for letter."""

    aspect: str
    claim: str
    quote: str
    review_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strengths:
    """Of one restaurant; `dropped` counts claims that no review supports or that are no praise. `praises`: the aspects that each labelled
    review praises."""

    found: tuple[Strength, ...]
    dropped: int = 0
    praises: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def table(self) -> Praise:
        return Praise(len(self.praises), Counter(aspect for aspects in self.praises.values() for aspect in aspects))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second stage of strengths. `kind`: `two-stage`, or `single` where there is nobody to compare with (then `summary` is None).
    `figures`: digest of all that the texts were made from. `written`: texts by the model, of two; a template is in place of the others."""

    summary: str | None
    strength: str | None
    kind: str
    peers: tuple[str, ...]
    figures: str
    written: int = 0


@dataclass(frozen=True, slots=True)
class Expansions:
    """Of one search query, best first as the model says them; `dropped` counts those that say nothing new or nothing in its language."""

    found: tuple[str, ...]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it was run, for `requests.parquet`. `position` counts submissions to the engine from 0; seconds from the first one."""

    request: Request
    answer: Answer
    position: int | None
    finished_s: float
    reused: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """A restaurant whose last answer is in: results by task, reasons by task where there is none, what was asked.

    `pending`: the run ended before the restaurant did. `again`: something failed that may succeed in another run. `follows`: the
    restaurant's second stage, after its first outcome and without its reviews. `sampled_count`: reviews that its texts were made from.
    `beside`: of a search query among restaurants.
    """

    restaurant: Restaurant
    results: Mapping[str, Any]
    errors: Mapping[str, str]
    asked: Sequence[Asked]
    flags: Mapping[str, tuple[str, ...]]
    finished_s: float
    pending: bool = False
    again: bool = False
    follows: bool = False
    beside: bool = False
    sampled_count: int = 0

    @property
    def status(self) -> Status:
        """`pending` where the run ended too early, `ok` when every task has a result, `failed` when none has, else `partial`."""
        if self.pending:
            return "pending"
        if not self.errors:
            return "ok"
        return "partial" if self.results else "failed"
