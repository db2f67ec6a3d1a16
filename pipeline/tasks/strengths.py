"""Strengths: what guests praise, as claims with an aspect and the reviews that say so; the same claim merged over chunks.

The model states claim and aspect in a bounded form; the reviews behind a claim are found by overlap (see `overlap.py` for why), and a claim
that no review supports is dropped and counted. Digits are kept out of claims: greedy decoding of the embedded model runs into "1.1.1.1".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import TaskFailed
from pipeline.records import Answer, Plan, Request, Review, Sampling, Strength, Strengths, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.overlap import content_words, same, supporting
from pipeline.tasks.prompts import SYSTEM, ChunkPrompt, does_not_read, main_language, make_request, usable_text
from pipeline.tokens import Tokens, concatenate

ASPECTS = ("taste", "service", "atmosphere", "price", "portion", "speed", "cleanliness", "location", "variety", "delivery", "other")
INSTRUCTION = "List only the strengths that guests praise in the reviews above as short bullet points."
_WORD = r'[^0-9\s"\\\[\](){}<>*#:]{1,20}'
FORM = {
    "type": "array",
    "minItems": 1,
    "maxItems": 4,
    "items": {
        "type": "object",
        "properties": {"claim": {"type": "string", "pattern": rf"^{_WORD}( {_WORD}){{1,9}}$"}, "aspect": {"enum": list(ASPECTS)}},
        "required": ["claim", "aspect"],
        "additionalProperties": False,
    },
}
SAMPLING = Sampling(max_tokens=320, schema=json.dumps(FORM))


class StrengthsTask:
    """Finds what guests praise in each chunk."""

    name: TaskName = "strengths"
    wording = f"{SYSTEM} {INSTRUCTION} {SAMPLING}"

    def __init__(self, tokens: Tokens, readable: Collection[str]) -> None:
        """`readable`: languages that the model was found to read."""
        self._readable = readable
        self._chunks = ChunkPrompt(tokens)
        self._tail = self._chunks.tail(INSTRUCTION)
        self.overhead = self._chunks.overhead(self._tail) + SAMPLING.max_tokens

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Strengths. Raises TaskFailed where an answer failed, was cut off, or the model does not read the reviews."""
        reviews = restaurant.restaurant.reviews
        language = main_language(reviews)
        if language not in self._readable:
            raise TaskFailed(does_not_read([language]))
        requests = [self._ask(restaurant, number, chunk) for number, chunk in enumerate(restaurant.chunks)]
        answers: Mapping[str, Answer] = yield requests
        found: list[Strength] = []
        dropped = 0
        for chunk, request in zip(restaurant.chunks, requests, strict=True):
            some, without = verify(parse(usable_text(answers[request.key], "find")), [reviews[i] for i in chunk])
            found += some
            dropped += without
        return Strengths(tuple(merge(found)), dropped)

    def _ask(self, restaurant: Tokenised, number: int, chunk: range) -> Request:
        shared = self._chunks.shared(restaurant, chunk)
        prompt = concatenate(shared, self._tail)
        return make_request("strengths", "find", restaurant.restaurant.restaurant_id, prompt, SAMPLING, number, len(shared))


def parse(text: str) -> list[tuple[str, str]]:
    """(aspect, claim) pairs of an answer. Raises TaskFailed where it has another form."""
    try:
        pairs = [(str(one["aspect"]), str(one["claim"]).strip()) for one in json.loads(text)]
    except (ValueError, TypeError, KeyError):
        raise TaskFailed("find: the answer is not in the form asked for") from None
    if any(aspect not in ASPECTS for aspect, _ in pairs):
        raise TaskFailed("find: the answer names an unknown aspect")
    return pairs


def verify(claims: Sequence[tuple[str, str]], reviews: Sequence[Review]) -> tuple[list[Strength], int]:
    """Claims with the reviews of the chunk that support them, and how many claims none supports."""
    words = [content_words(review.text) for review in reviews]
    found = [
        Strength(aspect, claim, tuple(reviews[i].review_id for i in supporters))
        for aspect, claim in claims
        if (supporters := supporting(claim, words))
    ]
    return found, len(claims) - len(found)


def merge(found: Sequence[Strength]) -> list[Strength]:
    """Claims that say the same become one, in the words of the first, supported by all their reviews. Most support first."""
    merged: list[Strength] = []
    for one in found:
        for i, other in enumerate(merged):
            if same(one.claim, other.claim):
                merged[i] = Strength(other.aspect, other.claim, tuple(dict.fromkeys((*other.review_ids, *one.review_ids))))
                break
        else:
            merged.append(one)
    return sorted(merged, key=lambda one: (-len(one.review_ids), ASPECTS.index(one.aspect), one.claim))
