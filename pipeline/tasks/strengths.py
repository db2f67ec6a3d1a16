"""Strengths: what guests praise, as claims with an aspect and the reviews that say so; the same claim merged over chunks.

The model states claims in a bounded form; the reviews behind a claim are found by overlap (see `overlap.py` for why), and a claim that no
review supports is dropped and counted. Then a one-token question per claim names its aspect. Digits are kept out of claims: greedy decoding
of the embedded model runs into "1.1.1.1".
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.records import Answer, Plan, Request, Review, Sampling, Strength, Strengths, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.overlap import content_words, repetitive, same, supporting
from pipeline.tasks.prompts import NEUTRAL, SYSTEM, ChunkPrompt, does_not_read, explain, main_language, make_request
from pipeline.tasks.question import Asker, Question
from pipeline.tokens import Tokens, concatenate

INSTRUCTION = "List only the strengths that guests praise in the reviews above as short bullet points."
_WORD = r"\p{L}[\p{L}'’,.&-]{0,19}"
FORM = {"type": "array", "minItems": 1, "maxItems": 4, "items": {"type": "string", "pattern": rf"^{_WORD}( {_WORD}){{1,9}}$"}}
SAMPLING = Sampling(max_tokens=160, schema=json.dumps(FORM))
ASPECT_QUESTION = Question(
    before=(
        '"The sushi was so fresh."\nThis guest praises the food.\n\n"Our waitress was kind."\nThis guest praises the service.\n\n'
        '"Cheap lunch deal."\nThis guest praises the price.\n\n"Lovely garden and candles"\nThis guest praises the atmosphere.\n\n"'
    ),
    after='"\nThis guest praises the',
    words={
        "taste": (" food", " taste", " flavor", " dishes", " drinks"),
        "service": (" service", " staff", " waiter", " hospitality"),
        "atmosphere": (" atmosphere", " decor", " music", " ambiance"),
        "price": (" price", " value", " prices"),
        "portion": (" portions", " quantity", " size"),
        "speed": (" speed", " timing"),
        "cleanliness": (" clean", " hygiene", " cleaning"),
        "location": (" location", " parking", " view"),
        "variety": (" variety", " menu", " selection"),
        "delivery": (" delivery", " packaging"),
    },
)
"""Right for 18 of 24 written claims with the embedded model; named in the same answer as the claim, the aspect was nearly always wrong."""
ASPECTS = (*ASPECT_QUESTION.words, "other")


class StrengthsTask:
    """Finds what guests praise in each chunk."""

    name: TaskName = "strengths"
    wording = f"{SYSTEM} {NEUTRAL} {INSTRUCTION} {SAMPLING} {ASPECT_QUESTION}"

    def __init__(self, tokens: Tokens, readable: Collection[str]) -> None:
        """`readable`: languages that the model was found to read."""
        self._tokens, self._readable = tokens, readable
        self._asker = Asker(tokens, ASPECT_QUESTION)
        self._chunks = ChunkPrompt(tokens)
        self._tails = {language: self._chunks.tail(INSTRUCTION, language) for language in SYSTEM}
        self.overhead = self._chunks.overhead(*self._tails.values()) + SAMPLING.max_tokens

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Strengths of the chunks with a usable answer. Raises TaskFailed where there is none, or no model for the language."""
        reviews = restaurant.restaurant.reviews
        language = main_language(reviews)
        if language not in self._readable:
            raise OutOfReach(does_not_read([language]))
        finds = [self._find(restaurant, number, chunk, language) for number, chunk in enumerate(restaurant.chunks)]
        answers: Mapping[str, Answer] = yield finds
        usable = [answers[request.key] for request in finds if answers[request.key].usable]
        if not usable:
            raise TaskFailed(f"find: {explain(answers[finds[0].key])}")
        claims = [claim for answer in usable for claim in parse(answer.text)]
        verified = verify(claims, restaurant.sampled)
        supported = merge(verified)
        texts = self._tokens.encode([claim for claim, _ in supported])
        asks = [self._asker.ask("strengths", "aspect", restaurant.restaurant.restaurant_id, one.ids, len(finds)) for one in texts]
        answers = yield asks
        found = [
            Strength(self._aspect(answers[request.key]), claim, review_ids)
            for (claim, review_ids), request in zip(supported, asks, strict=True)
        ]
        return Strengths(tuple(found), dropped=len(claims) - len(verified))

    def _aspect(self, answer: Answer) -> str:
        found = self._asker.log_probabilities(answer) if answer.usable else {"other": 0.0}
        return max(found, key=lambda aspect: found[aspect])

    def _find(self, restaurant: Tokenised, number: int, chunk: Sequence[int], language: str) -> Request:
        shared = self._chunks.shared(restaurant, chunk, language)
        prompt = concatenate(shared, self._tails[language])
        return make_request("strengths", "find", restaurant.restaurant.restaurant_id, prompt, SAMPLING, number, len(shared))


def parse(text: str) -> list[str]:
    """Claims of an answer. Raises TaskFailed where it has another form."""
    try:
        claims = json.loads(text)
    except ValueError:
        claims = None
    if not isinstance(claims, list) or not all(isinstance(claim, str) for claim in claims):
        raise TaskFailed("find: the answer is not in the form asked for")
    return [claim.strip().rstrip(",") for claim in claims]


Supported = tuple[str, tuple[str, ...]]
"""A claim and the ids of the reviews that support it."""


def verify(claims: Sequence[str], reviews: Sequence[Review]) -> list[Supported]:
    """Claims that at least one review supports."""
    words = [content_words(review.text) for review in reviews]
    found = ((claim, supporting(claim, words)) for claim in claims if not repetitive(claim))
    return [(claim, tuple(reviews[i].review_id for i in supporters)) for claim, supporters in found if supporters]


def merge(found: Sequence[Supported]) -> list[Supported]:
    """Claims that say the same become one, in the words of the first, supported by the reviews of all. Most support first."""
    merged: list[Supported] = []
    for claim, review_ids in found:
        for i, (other, other_ids) in enumerate(merged):
            if same(claim, other):
                merged[i] = (other, tuple(dict.fromkeys((*other_ids, *review_ids))))
                break
        else:
            merged.append((claim, review_ids))
    return sorted(merged, key=lambda one: (-len(one[1]), one[0]))
