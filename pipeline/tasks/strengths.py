"""Strengths, first stage: what guests praise, as claims with an aspect, a quote, and the reviews that say so.

Two kinds of questions. One per chunk: the model states claims in a bounded form, and the reviews behind a claim are found by overlap (see
`overlap.py` for why); a claim that no positive review supports is dropped and counted. One per positive review, with one token as its
answer: which aspects does it praise? Those make the restaurant's table of praise, which it is compared by.
Digits are kept out of claims: greedy decoding of the embedded model runs into "1.1.1.1".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.records import Answer, Plan, Request, Review, Sampling, Strength, Strengths, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.aspects import Praises
from pipeline.tasks.overlap import content_words, quote, repetitive, same, supporting
from pipeline.tasks.prompts import NEUTRAL, SYSTEM, ChunkPrompt, does_not_read, explain, main_language, make_request
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tokens import Tokens, concatenate

INSTRUCTION = {
    "en": "List only the strengths that guests praise in the reviews above as short bullet points.",
    "ko": "위 리뷰에서 손님들이 칭찬한 장점만 짧은 항목으로 나열하세요.",
}
_LETTER = "A-Za-zÀ-ÖØ-öø-ÿ가-힣"
_WORD = rf"[{_LETTER}][{_LETTER}'’,.&-]{{0,19}}"
LEAST_WORDS = 2
"""Content words of a claim: one alone (`The service`) says nothing that is worth a quote."""
FORM = {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "string", "pattern": rf"^{_WORD}( {_WORD}){{1,9}}$"}}
SAMPLING = Sampling(max_tokens=160, schema=json.dumps(FORM))
MOST_QUOTED = 200
"""Letters of a quote."""


class StrengthsTask:
    """Finds what guests praise in each chunk."""

    name: TaskName = "strengths"
    wording = f"{SYSTEM} {NEUTRAL} {INSTRUCTION} {SAMPLING} {Praises.wording}"

    def __init__(self, tokens: Tokens, readable: Collection[str], sentiment: SentimentTask) -> None:
        """`readable`: languages that the model was found to read. `sentiment`: tells which reviews are positive."""
        self._tokens, self._readable, self._sentiment = tokens, readable, sentiment
        self._praises = Praises(tokens)
        self._chunks = ChunkPrompt(tokens)
        self._tails = {language: self._chunks.tail(text, language) for language, text in INSTRUCTION.items()}
        self.overhead = max(self._chunks.overhead(*self._tails.values()) + SAMPLING.max_tokens, self._praises.overhead)

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Strengths of the chunks with a usable answer. Raises TaskFailed where there is none, or no model for the language."""
        reviews, name = restaurant.restaurant.reviews, restaurant.restaurant.restaurant_id
        language = main_language(reviews)
        if language not in self._readable:
            raise OutOfReach(does_not_read([language]))
        finds = [self._find(restaurant, number, chunk, language) for number, chunk in enumerate(restaurant.chunks)]
        chunks = restaurant.chunk_of
        # The same questions as sentiment's, of the sample: asked once.
        asked = {i: request for i, request in self._sentiment.ask(restaurant).items() if i in chunks}
        answers: Mapping[str, Answer] = yield [*finds, *asked.values()]
        usable = [answers[request.key] for request in finds if answers[request.key].usable]
        if not usable:
            raise TaskFailed(f"find: {explain(answers[finds[0].key])}")
        labels = [one.label for one in self._sentiment.labels(restaurant, asked, answers)]
        positive = [i for i, label in enumerate(labels) if label == "positive"]
        claims = [claim for answer in usable for claim in parse(answer.text)]
        verified = verify(claims, {i: reviews[i] for i in positive})
        merged = merge(verified)
        texts = self._tokens.encode([claim for claim, _ in merged])
        aspects = [self._praises.ask("aspect", name, language, one.ids, len(finds)) for one in texts]
        praises = {i: self._praises.ask("praise", name, reviews[i].language, restaurant.ids[i], chunks[i]) for i in positive}
        spoken = {reviews[i].language for i in positive} | {language}
        priors = {one: self._praises.prior(name, one) for one in sorted(spoken)}
        answers = yield [*priors.values(), *praises.values(), *aspects]

        def praised(request: Request, language: str) -> tuple[str, ...]:
            return self._praises.read(answers[request.key], answers[priors[language].key], language)

        by_review = {i: praised(request, reviews[i].language) for i, request in praises.items()}
        found = []
        for (claim, supporters), request in zip(merged, aspects, strict=True):
            aspect = next(iter(praised(request, language)), "other")
            best = quote(claim, reviews[supporters[0]].text, MOST_QUOTED)
            found.append(Strength(aspect, claim, best, tuple(reviews[i].review_id for i in supporters)))
        table = {reviews[i].review_id: by_review.get(i, ()) for i, label in enumerate(labels) if label is not None}
        return Strengths(tuple(found), len(claims) - len(verified), table)

    def _find(self, restaurant: Tokenised, number: int, chunk: Sequence[int], language: str) -> Request:
        shared = self._chunks.shared(restaurant, chunk, language)
        prompt = concatenate(shared, self._tails[language])
        name, common = restaurant.restaurant.restaurant_id, self._chunks.common(language)
        return make_request("strengths", "find", name, prompt, SAMPLING, number, len(shared), common)


def parse(text: str) -> list[str]:
    """Claims of an answer. Raises TaskFailed where it has another form."""
    try:
        claims = json.loads(text)
    except ValueError:
        claims = None
    if not isinstance(claims, list) or not all(isinstance(claim, str) for claim in claims):
        raise TaskFailed("find: the answer is not in the form asked for")
    return [claim.strip().rstrip(",") for claim in claims]


Supported = tuple[str, tuple[int, ...]]
"""A claim and the places of the reviews that support it."""


def verify(claims: Sequence[str], reviews: Mapping[int, Review]) -> list[Supported]:
    """Claims that at least one of these reviews supports; reviews by place."""
    places = list(reviews)
    words = [content_words(review.text) for review in reviews.values()]
    sound = [claim for claim in claims if not repetitive(claim) and len(content_words(claim)) >= LEAST_WORDS]
    found = ((claim, supporting(claim, words)) for claim in sound)
    return [(claim, tuple(places[i] for i in supporters)) for claim, supporters in found if supporters]


def merge(found: Sequence[Supported]) -> list[Supported]:
    """Claims that say the same become one, in the words of the first, supported by the reviews of all. Most support first."""
    merged: list[Supported] = []
    for claim, supporters in found:
        for i, (other, others) in enumerate(merged):
            if same(claim, other):
                merged[i] = (other, tuple(sorted({*others, *supporters})))
                break
        else:
            merged.append((claim, supporters))
    return sorted(merged, key=lambda one: (-len(one[1]), one[0]))
