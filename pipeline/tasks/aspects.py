"""What guests praise: a fixed list of aspects, their names, and the one-token questions that find them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from pipeline.records import Answer, Request, TokenIds
from pipeline.tasks.question import Asker, Question, asker_in
from pipeline.tasks.sentiment import QUESTIONS as SENTIMENT
from pipeline.tokens import Tokens

NAMES = {
    "en": {
        "taste": "taste",
        "service": "service",
        "atmosphere": "atmosphere",
        "price": "price",
        "portion": "portions",
        "speed": "speed",
        "cleanliness": "cleanliness",
        "location": "location",
        "variety": "variety",
        "delivery": "delivery",
    },
    "ko": {
        "taste": "맛",
        "service": "서비스",
        "atmosphere": "분위기",
        "price": "가격",
        "portion": "음식 양",
        "speed": "속도",
        "cleanliness": "청결",
        "location": "위치",
        "variety": "메뉴 다양성",
        "delivery": "배달",
    },
}
"""As they are written in texts, by language."""
STEMS = {
    "taste": re.compile(r"\btast|\bfood|맛"),
    "service": re.compile(r"\bservic|\bstaff|서비스"),
    "atmosphere": re.compile(r"\batmospher|\bambian|분위기"),
    "price": re.compile(r"\bpric|\bvalue|가격"),
    "portion": re.compile(r"\bportion|음식 양"),
    "speed": re.compile(r"\bspeed|속도"),
    "cleanliness": re.compile(r"\bclean|청결"),
    "location": re.compile(r"\blocation|위치"),
    "variety": re.compile(r"\bvariety|다양"),
    "delivery": re.compile(r"\bdeliver|배달"),
}
"""What names an aspect in a text."""
ASPECTS = (*STEMS, "other")
MENTIONS = {
    "taste": re.compile(r"\bfood|\btast|\bflavo|\bdish|\bdrink|\bdelici|\byumm|\bcuisine|\bdesserts?\b|맛|음식|요리"),
    "service": re.compile(r"\bservic|\bstaff|\bwaiter|\bserver|\bhospitab|\bhospitality|\bcourteous|서비스|직원|친절|사장"),
    "atmosphere": re.compile(
        r"\batmospher|\bambi[ae]n|\bdecor|\bmusic|\bvibe|\binterior|\bplace to\b|\bhang ?out|\bcozy\b|\bcosy\b|분위기|인테리어|음악|공간"
    ),
    "price": re.compile(r"\bpric|\bvalue|\bcosts?\b|\bcheap|\baffordab|\breasonab|가격|가성비"),
    "portion": re.compile(r"\bportion|\bquantit|음식 양|양이|푸짐"),
    "speed": re.compile(r"\bspeed|\bfast\b|\bquick|\bprompt|\btimely|속도|빨리|빠르"),
    "cleanliness": re.compile(r"\bclean|\bhygien|청결|위생|깨끗"),
    "location": re.compile(r"\blocat|\bparking|\bview\b|위치|주차|전망"),
    "variety": re.compile(r"\bvariet|\bselection|\brange\b|\boptions?\b|다양|종류"),
    "delivery": re.compile(r"\bdeliver|\bpackag|배달|포장"),
}
"""What names an aspect in a claim. The question alone calls `place to hang out` taste and `value for money` service."""
QUESTIONS = {
    "en": Question(
        before=SENTIMENT["en"].before,
        after=f"{SENTIMENT['en'].after} satisfied. What the customer liked best was the",
        words={
            "taste": (" food", " taste", " flavor", " dishes", " drinks"),
            "service": (" service", " staff", " waiter", " hospitality"),
            "atmosphere": (" atmosphere", " decor", " music", " ambiance", " ambience", " place"),
            "price": (" price", " value", " prices", " cost"),
            "portion": (" portions", " quantity", " size", " portion", " amount"),
            "speed": (" speed", " timing", " quick", " fast"),
            "cleanliness": (" clean", " hygiene", " cleaning", " cleanliness"),
            "location": (" location", " parking", " view"),
            "variety": (" variety", " menu", " selection", " range", " options"),
            "delivery": (" delivery", " packaging"),
        },
    ),
    "ko": Question(
        before=SENTIMENT["ko"].before,
        after=f"{SENTIMENT['ko'].after} 좋았다. 손님이 가장 마음에 들어 한 것은",
        words={
            "taste": (" 맛", " 음식", " 요리", " 메뉴"),
            "service": (" 서비스", " 직원", " 친절", " 사장"),
            "atmosphere": (" 분위기", " 인테리어", " 음악", " 공간"),
            "price": (" 가격", " 가성비", " 값"),
            "portion": (" 양", " 푸짐"),
            "speed": (" 속도", " 빠른", " 빨리"),
            "cleanliness": (" 청결", " 위생", " 깨끗"),
            "location": (" 위치", " 주차", " 전망"),
            "variety": (" 다양", " 종류", " 구성"),
            "delivery": (" 배달", " 포장"),
        },
    ),
}
"""Goes on where the question about sentiment ends, so that the review before it comes from the prefix cache."""
NO_TEXT = "N/A"
"""A text without content, which shows what the model says whatever it reads (Zhao et al. 2021, "Calibrate Before Use", ICML)."""
PRIOR_WEIGHT = 0.5
LEAST_SHARE = 0.2
"""Of the probability of all aspects, from which on a review praises one. With the embedded model on 90 positive reviews that two aspects
and a half were written down for on average: precision .85, recall .57, the surest one right for .89 (.80, .55, .84 without the prior;
examples of its own in place of sentiment's .70, .69, .80)."""


def aspect_of(claim: str, surest: Sequence[str]) -> str:
    """The one aspect that a claim names; of several the one that the model is surest of; of none the model's."""
    text = claim.casefold()
    named = [aspect for aspect, mention in MENTIONS.items() if mention.search(text)]
    return next((aspect for aspect in surest if not named or aspect in named), next(iter(named), "other"))


class Praises:
    """Asks which aspects a text praises."""

    wording = f"{QUESTIONS} {NO_TEXT} {PRIOR_WEIGHT} {LEAST_SHARE} {NAMES}"

    def __init__(self, tokens: Tokens) -> None:
        self._askers = {language: asker_in(language, QUESTIONS, tokens) for language in QUESTIONS}
        self._prior: tuple[Answer, dict[str, float]] | None = None
        self._nothing = tokens.encode([NO_TEXT])[0].ids
        self.overhead = max(asker.overhead for asker in self._askers.values())

    def ask(self, stage: str, restaurant_id: str, language: str, text: TokenIds, chunk: int = 0) -> Request:
        """One request about one text."""
        return self._asker(language).ask("strengths", stage, restaurant_id, text, chunk)

    def prior(self, restaurant_id: str, language: str) -> Request:
        """The same question about nothing: equal for all restaurants, so it is asked once."""
        return self.ask("prior", restaurant_id, language, self._nothing)

    def read(self, answer: Answer, prior: Answer, language: str) -> tuple[str, ...]:
        """Aspects that the text praises, the surest first; none where an answer is not usable."""
        if not answer.usable or not prior.usable:
            return ()
        asker = self._asker(language)
        if self._prior is None or self._prior[0] is not prior:  # one for all reviews in a language
            self._prior = prior, asker.log_probabilities(prior)
        before = self._prior[1]
        found = {aspect: value - PRIOR_WEIGHT * before[aspect] for aspect, value in asker.log_probabilities(answer).items()}
        most = max(found.values())
        weights = {aspect: math.exp(value - most) for aspect, value in found.items()}
        total = sum(weights.values())
        return tuple(sorted((one for one in weights if weights[one] >= LEAST_SHARE * total), key=lambda one: (-weights[one], one)))

    def _asker(self, language: str) -> Asker:
        return self._askers.get(language, self._askers["en"])
