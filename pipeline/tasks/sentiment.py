"""Sentiment: one question per review, one token as the answer, a calibrated score.

No label is generated. The exact log-probabilities of a few words at the next position give the log-odds of a satisfied guest, in one
request without decoding. The review stands first, so that a second question about it would come from the prefix cache.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import BadConfiguration, TaskFailed
from pipeline.records import Answer, Plan, Request, Review, Sampling, Sentiment, TaskName, TokenIds
from pipeline.restaurants import Tokenised
from pipeline.tasks.calibration import Anchor, Fit, fit
from pipeline.tasks.prompts import does_not_read, explain, make_request
from pipeline.tokens import Tokens, concatenate


@dataclass(frozen=True, slots=True)
class Question:
    """Wording around a review, and pairs of words, satisfied and dissatisfied, whose probabilities are compared."""

    before: str
    after: str
    pairs: tuple[tuple[str, str], ...]


QUESTIONS = {
    "en": Question(
        "Review: ",
        "\n\nOverall, the customer was",
        ((" happy", " unhappy"), (" impressed", " disappointed"), (" satisfied", " dissatisfied")),
    ),
}
NEUTRAL_WIDTH = 0.3


class SentimentTask:
    """Labels every review of a restaurant."""

    name: TaskName = "sentiment"
    wording = f"{QUESTIONS} {NEUTRAL_WIDTH}"
    overhead = 64

    def __init__(self, tokens: Tokens, fits: Mapping[str, Fit]) -> None:
        """`fits` by language, from `calibrate`; a language that is not in it, or not readable, stays unlabelled."""
        self._asker = Asker(tokens)
        self._fits = fits

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns a list of Sentiment, one per review in order. Raises TaskFailed where not a single review has a label."""
        reviews = restaurant.restaurant.reviews
        fits = [self._fits.get(review.language) for review in reviews]
        asked = {
            i: self._asker.ask(restaurant.restaurant.restaurant_id, restaurant.ids[i], reviews[i].language, chunk)
            for chunk, run in enumerate(restaurant.chunks)
            for i in run
            if (it := fits[i]) is not None and it.readable
        }
        if not asked:
            raise TaskFailed(does_not_read(review.language for review in reviews))
        answers: Mapping[str, Answer] = yield list(asked.values())
        if all(not answers[request.key].usable for request in asked.values()):
            raise TaskFailed(explain(next(iter(answers.values()))))
        return [self._label(review, fits[i], answers[asked[i].key] if i in asked else None) for i, review in enumerate(reviews)]

    def _label(self, review: Review, calibration: Fit | None, answer: Answer | None) -> Sentiment:
        if answer is None or calibration is None or not answer.usable:
            return Sentiment(review.review_id, None, None)
        score = calibration.score(self._asker.log_odds(answer, review.language))
        label = "neutral" if abs(score) < NEUTRAL_WIDTH else "positive" if score > 0 else "negative"
        return Sentiment(review.review_id, label, score)


class Asker:
    """Builds the question for one review and reads its answer."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._pairs = {name: _single(tokens, question) for name, question in QUESTIONS.items()}

    def ask(self, restaurant_id: str, review: TokenIds, language: str, chunk: int = 0) -> Request:
        """One request over one review."""
        language = _asked_in(language)
        question = QUESTIONS[language]
        prompt = concatenate(self._tokens.part(question.before), review, self._tokens.part(question.after))
        choices = tuple(sorted({token for pair in self._pairs[language] for token in pair}))
        return make_request("sentiment", "label", restaurant_id, prompt, Sampling(max_tokens=1, choices=choices), chunk)

    def log_odds(self, answer: Answer, language: str) -> float:
        """Raw log-odds of the satisfied words against the dissatisfied ones."""
        satisfied, dissatisfied = zip(*self._pairs[_asked_in(language)], strict=True)
        return _log_sum(answer, satisfied) - _log_sum(answer, dissatisfied)


def _asked_in(language: str) -> str:
    return language if language in QUESTIONS else "en"


def _single(tokens: Tokens, question: Question) -> list[tuple[int, int]]:
    """The pairs of which both words are one token in this model's vocabulary."""
    pairs = [(tokens.word(yes), tokens.word(no)) for yes, no in question.pairs]
    found = [(yes, no) for yes, no in pairs if yes is not None and no is not None]
    if not found:
        raise BadConfiguration(
            f"this model's vocabulary has none of the word pairs {question.pairs} as single tokens; choose another --model"
        )
    return found


def calibrate(tokens: Tokens, written: Sequence[Anchor]) -> Plan:
    """A plan of its own, run before the others: asks about the anchors, returns fits by language."""
    asker = Asker(tokens)
    encoded = tokens.encode([anchor.text for anchor in written])
    asked = {anchor: asker.ask("anchors", one.ids, anchor.language) for anchor, one in zip(written, encoded, strict=True)}
    answers: Mapping[str, Answer] = yield list(asked.values())
    failed = [explain(answers[request.key]) for request in asked.values() if not answers[request.key].usable]
    if failed:
        raise TaskFailed(f"calibration: {failed[0]}")
    return fit({anchor: asker.log_odds(answers[request.key], anchor.language) for anchor, request in asked.items()})


def _log_sum(answer: Answer, words: Sequence[int]) -> float:
    values = [answer.logprobs[word] for word in dict.fromkeys(words)]
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))
