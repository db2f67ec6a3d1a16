"""Strengths, first stage: what guests praise, as claims with an aspect, a quote, and the reviews that say so.

Two kinds of questions. One per chunk: the model states claims in a bounded form, and the reviews behind a claim are found by overlap (see
`overlap.py` for why); a claim that no positive review supports is dropped and counted. One per positive review, with one token as its
answer: which aspects does it praise? Those make the restaurant's table of praise, which it is compared by.
Digits are kept out of claims: greedy decoding of the embedded model runs into "1.1.1.1".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.reads import Reads, together
from pipeline.records import Answer, Plan, Request, Restaurant, Sampling, Strength, Strengths
from pipeline.restaurants import Tokenised
from pipeline.tasks.aspects import MENTIONS, Praises, aspect_of
from pipeline.tasks.claims import RULES, Claim, merge, parse, said, verify
from pipeline.tasks.comparison import ComparisonTask
from pipeline.tasks.kind import Row, TaskKind
from pipeline.tasks.overlap import quote, same
from pipeline.tasks.prompts import NEUTRAL, SYSTEM, ChunkPrompt, does_not_read, explain, main_language, make_request
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tokens import Tokens, concatenate

INSTRUCTION = {
    "en": "List only the strengths that guests praise in the reviews above as short bullet points.",
    "ko": "위 리뷰에서 손님들이 칭찬한 장점만 짧은 항목으로 나열하세요.",
}
_LETTER = "A-Za-zÀ-ÖØ-öø-ÿ가-힣"
_WORD = rf"[{_LETTER}][{_LETTER}'’,.&-]{{0,19}}"
FORM = {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "string", "pattern": rf"^{_WORD}( {_WORD}){{1,9}}$"}}
SAMPLING = Sampling(max_tokens=160, schema=json.dumps(FORM))
LEAST, MOST = 3, 10
"""Strengths of a restaurant, those with most support: thousands of reviews make more claims than anybody reads. Where fewer claims hold,
sentences of the reviews themselves come after them."""
MOST_QUOTED = 200
"""Letters of a quote."""
PRAISED = 0.65
"""Of the reviews, how many are asked about once more; by then most are gone from the prefix cache (see `planning._evict`)."""


class StrengthsTask:
    """Finds what guests praise in each chunk."""

    name: str = "strengths"
    wording = f"{SYSTEM} {NEUTRAL} {INSTRUCTION} {SAMPLING} {Praises.wording} {MENTIONS} {RULES} {LEAST} {MOST} {MOST_QUOTED}"

    def __init__(self, tokens: Tokens, readable: Collection[str], sentiment: SentimentTask) -> None:
        """`readable`: languages that the model was found to read. `sentiment`: tells which reviews are positive."""
        self._tokens, self._readable, self._sentiment = tokens, readable, sentiment
        self._praises = Praises(tokens)
        self._chunks = ChunkPrompt(tokens)
        self._tails = {language: self._chunks.tail(text, language) for language, text in INSTRUCTION.items()}
        self.overhead = max(self._chunks.overhead(*self._tails.values()) + SAMPLING.max_tokens, self._praises.overhead)
        over_chunks = {name: self._chunks.reads(name, tail) for name, tail in self._tails.items() if name in readable}
        labels = {language: replace(one, sampled=True, again=PRAISED) for language, one in sentiment.reads.items()}
        self.reads: Mapping[str, Reads] = together([over_chunks, labels])

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
        positive = {i: reviews[i] for i, label in enumerate(labels) if label == "positive"}
        claims = [claim for answer in usable for claim in parse(answer.text)]
        verified = verify(claims, positive)
        judged = self._questions(name, language, merge(verified)[:MOST], len(finds))
        praises = {i: self._praises.ask("praise", name, review.language, restaurant.ids[i], chunks[i]) for i, review in positive.items()}
        priors = {one: self._praises.prior(name, one) for one in sorted({language, *(review.language for review in positive.values())})}
        answers = yield [*priors.values(), *praises.values(), *(request for asked in judged.values() for request in asked)]
        prior = answers[priors[language].key]
        found = self._praised(judged, answers, prior, language)
        dropped = len(claims) - sum(any(same(one.text, claim.text) for claim, _ in found) for one in verified)
        by_review = {
            i: self._praises.read(answers[request.key], answers[priors[reviews[i].language].key], reviews[i].language)
            for i, request in praises.items()
        }
        if len(found) < LEAST and positive:
            own = {i: review for i, review in positive.items() if review.language == language} or positive
            sayings = verify(said([claim.text for claim, _ in found], own, LEAST), positive)
            judged = self._questions(name, language, sayings, len(finds))
            answers = yield [request for asked in judged.values() for request in asked]
            found += self._praised(judged, answers, prior, language)[: LEAST - len(found)]
        table = {reviews[i].review_id: by_review.get(i, ()) for i, label in enumerate(labels) if label is not None}
        strengths = [
            Strength(
                aspect,
                claim.text,
                quote(claim.text, reviews[claim.places[0]].text, MOST_QUOTED),
                tuple(reviews[i].review_id for i in claim.places),
            )
            for claim, aspect in found
        ]
        return Strengths(tuple(strengths), dropped, table)

    def _questions(self, name: str, language: str, claims: Sequence[Claim], chunk: int) -> dict[Claim, tuple[Request, Request]]:
        """Of each claim whether it is praise (read like a review, it is a satisfied guest's), and of what."""
        encoded = self._tokens.encode([claim.text for claim in claims])
        return {
            claim: (
                self._sentiment.ask_about("strengths", "tone", name, language, one.ids, chunk),
                self._praises.ask("aspect", name, language, one.ids, chunk),
            )
            for claim, one in zip(claims, encoded, strict=True)
        }

    def _praised(
        self, judged: Mapping[Claim, tuple[Request, Request]], answers: Mapping[str, Answer], prior: Answer, language: str
    ) -> list[tuple[Claim, str]]:
        """The claims that are praise, each with its aspect."""
        return [
            (claim, aspect_of(claim.text, self._praises.read(answers[aspect.key], prior, language)))
            for claim, (tone, aspect) in judged.items()
            if self._sentiment.label(answers[tone.key], language)[0] == "positive"
        ]

    def _find(self, restaurant: Tokenised, number: int, chunk: Sequence[int], language: str) -> Request:
        shared = self._chunks.shared(restaurant, chunk, language)
        prompt = concatenate(shared, self._tails[language])
        name, common = restaurant.restaurant.restaurant_id, self._chunks.common(language)
        return make_request("strengths", "find", name, prompt, SAMPLING, number, len(shared), common)


def praised(strengths: Strengths | None, _: Restaurant) -> Row:
    """Its columns; none where there is no result."""
    if strengths is None:
        return {}
    found = [
        {"aspect": one.aspect, "claim": one.claim, "quote": one.quote, "review_ids": list(one.review_ids), "support": len(one.review_ids)}
        for one in strengths.found
    ]
    return {"strengths": found, "dropped_claims": strengths.dropped}


KIND = TaskKind(
    "strengths",
    3,
    f"{StrengthsTask.wording} {ComparisonTask.wording}",
    make=lambda means: StrengthsTask(means.tokens, means.readable, means.sentiment),
    row=praised,
    output_tokens={"find": 28, "compare": 31, "strength": 20},
)
"""Both stages; the comparison is made where the first stages of all peers are there (`comparison.py`)."""
