"""Sentiment: one question per review, one token as the answer, a calibrated score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.reads import Reads
from pipeline.records import Answer, Plan, Request, Restaurant, Review, Sentiment, TokenIds
from pipeline.restaurants import Tokenised
from pipeline.tasks.calibration import Anchor, Fit, fit
from pipeline.tasks.kind import Row, TaskKind
from pipeline.tasks.prompts import does_not_read, explain
from pipeline.tasks.question import Asker, Question, asker_in
from pipeline.tokens import Tokens

QUESTIONS = {
    "en": Question(
        before=(
            "Review: Cold noodles, rude waiter.\n\nOverall, the customer felt disappointed.\n\n"
            "Review: Lovely evening, will come again\n\nOverall, the customer felt satisfied.\n\n"
            "Review: ok place but my order was wrong and late\n\nOverall, the customer felt unhappy.\n\n"
            "Review: Tasty!\n\nOverall, the customer felt happy.\n\n"
            "Review: Not worth it\n\nOverall, the customer felt disappointed.\n\n"
            "Review: "
        ),
        after="\n\nOverall, the customer felt",
        words={
            "satisfied": (" happy", " satisfied", " good", " great"),
            "dissatisfied": (" unhappy", " disappointed", " bad", " terrible"),
        },
    ),
    "ko": Question(
        before=(
            "리뷰: 면은 식었고 직원은 불친절했어요.\n\n전체적으로 손님은 기분이 나빴다.\n\n"
            "리뷰: 즐거운 저녁이었습니다 또 올게요\n\n전체적으로 손님은 기분이 좋았다.\n\n"
            "리뷰: 가게는 괜찮은데 주문이 잘못 나오고 늦었어요\n\n전체적으로 손님은 기분이 불쾌했다.\n\n"
            "리뷰: 맛있어요!\n\n전체적으로 손님은 기분이 좋았다.\n\n"
            "리뷰: 돈 아까움\n\n전체적으로 손님은 기분이 나빴다.\n\n"
            "리뷰: "
        ),
        after="\n\n전체적으로 손님은 기분이",
        words={
            "satisfied": (" 좋", " 좋은", " 좋아", " 만족", " 행복", " 최고"),
            "dissatisfied": (" 나", " 나쁘", " 나쁜", " 불", " 불쾌", " 상", " 실망"),
        },
    ),
}
"""By language. The examples are one prefix per language that the cache computes once.

English was chosen by measurement with the embedded model, boundary from the anchors. Without examples the area under the curve on 200 rated
reviews was .985 against .995, and one clearly bad short review in six was called good, against none. On rated reviews that no figure of the
README is taken from, other words gained nothing (5 sets of 4 to 25 words: area under the curve .933 to .936 on 350 reviews under 100
characters, .986 on 300 longer ones), nor did two examples more, a praised delivery and a long mixed review (.963 after .959 on 150 of the
short ones, .986 after .993 on 100 of the longer). Words of a mood stay within a token in nearly every vocabulary, and larger
models spread their answer over several of them, hence four of each.

Korean was chosen from the vocabularies of Qwen 3, Gemma 3 and Llama 3, since the embedded model does not read it and no model that does was
at hand: the sentence goes on with a stem that is a token of its own in all three, ` 좋` (was good), ` 나` (was bad) or ` 불` (unpleasant),
while most Korean words of praise and blame are two tokens or more. How well a model answers it, the anchors tell before a run relies on it.
"""
NEUTRAL_WIDTH = 0.1
"""Scores this close to 0, between 47.5 and 52.5 %, are neutral: the model cannot tell. It is no opinion that the guest is lukewarm; most
reviews with 3 stars lean to one side. On the same reviews, 9 of the 20 within 0.3 were rated good, and neutral counted as wrong the
balanced accuracy of the longer ones was .962 at a width of 0, .940 at 0.1, .914 at 0.3; of the short ones .890, .888, .876."""
PROBE = 40
"""Labelled reviews of a language that are asked before the others, half of them of either label."""
HOPELESS_AUC = 0.6
"""On those, two standard errors below LEAST_AUC (Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating
Characteristic Curve"). The Korean anchors are 7,600 tokens to the embedded model, a byte or two each; most of them need not be asked."""


class SentimentTask:
    """Labels every review of a restaurant, each in the wording of its own language."""

    name: str = "sentiment"
    wording = f"{QUESTIONS} {NEUTRAL_WIDTH}"

    def __init__(self, tokens: Tokens, fits: Mapping[str, Fit]) -> None:
        """`fits` by language, from `calibrate`; a language that is not in it, or not readable, stays unlabelled."""
        self._askers = {language: asker_in(language, QUESTIONS, tokens) for language, one in fits.items() if one.readable}
        self._fits = fits
        self._last: tuple[Tokenised, dict[int, Request]] | None = None
        self.overhead = max((asker.overhead for asker in self._askers.values()), default=0)
        self.reads: Mapping[str, Reads] = {
            language: Reads(alone=asker.overhead - 1, common=asker.common) for language, asker in self._askers.items()
        }

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns a list of Sentiment, one per review in order. Raises TaskFailed where not a single review has a label."""
        asked = self.ask(restaurant)
        if not asked:
            raise OutOfReach(does_not_read(review.language for review in restaurant.restaurant.reviews))
        answers: Mapping[str, Answer] = yield list(asked.values())
        if all(not answers[request.key].usable for request in asked.values()):
            raise TaskFailed(explain(next(iter(answers.values()))))
        return self.labels(restaurant, asked, answers)

    def ask(self, restaurant: Tokenised) -> dict[int, Request]:
        """A request per review, by its place, where the model reads its language. Made once for tasks that ask one after another."""
        if self._last is None or self._last[0] is not restaurant:
            self._last = restaurant, self._requests(restaurant)
        return self._last[1]

    def _requests(self, restaurant: Tokenised) -> dict[int, Request]:
        name, chunks = restaurant.restaurant.restaurant_id, restaurant.chunk_of
        return {
            i: asker.ask("sentiment", "label", name, restaurant.ids[i], chunks.get(i, len(restaurant.chunks)))  # those not sampled last
            for i, review in enumerate(restaurant.restaurant.reviews)
            if (asker := self._askers.get(review.language))
        }

    def labels(self, restaurant: Tokenised, asked: Mapping[int, Request], answers: Mapping[str, Answer]) -> list[Sentiment]:
        """One per review, in order."""
        reviews = restaurant.restaurant.reviews
        return [self._label(review, answers[asked[i].key] if i in asked else None) for i, review in enumerate(reviews)]

    def ask_about(self, task: str, stage: str, restaurant_id: str, language: str, text: TokenIds, chunk: int) -> Request:
        """The same question about another text in a language that the model reads."""
        return self._askers[language].ask(task, stage, restaurant_id, text, chunk)

    def label(self, answer: Answer, language: str) -> tuple[str | None, float | None]:
        """Label and score, None where there is no answer."""
        if not answer.usable:
            return None, None
        score = self._fits[language].score(log_odds(self._askers[language], answer))
        return "neutral" if abs(score) < NEUTRAL_WIDTH else "positive" if score > 0 else "negative", score

    def _label(self, review: Review, answer: Answer | None) -> Sentiment:
        return Sentiment(review.review_id, *(self.label(answer, review.language) if answer else (None, None)))


def counted(found: Sequence[Sentiment] | None, restaurant: Restaurant) -> Row:
    """review_count = positive + neutral + negative + unlabelled. Agreement with the ratings leaves 3 stars and unlabelled ones out."""
    by_label = Counter(one.label for one in found or ())
    labelled = by_label["positive"] + by_label["neutral"] + by_label["negative"]
    pairs = [
        (one.label, "positive" if review.rating > 3 else "negative")
        for review, one in zip(restaurant.reviews, found or (), strict=False)
        if review.rating is not None and review.rating != 3 and one.label is not None
    ]
    return {
        **{f"{label}_count": by_label[label] for label in ("positive", "neutral", "negative")},
        "unlabelled_count": len(restaurant.reviews) - labelled,
        "positive_ratio": by_label["positive"] / labelled if labelled else None,
        "rating_agreement": sum(label == rated for label, rated in pairs) / len(pairs) if pairs else None,
    }


KIND = TaskKind("sentiment", 1, SentimentTask.wording, make=lambda means: means.sentiment, row=counted)


def log_odds(asker: Asker, answer: Answer) -> float:
    """Raw log-odds of a satisfied guest, before calibration."""
    found = asker.log_probabilities(answer)
    return found["satisfied"] - found["dissatisfied"]


def calibrate(tokens: Tokens, labelled: Sequence[Anchor], some_may_fail: bool = False) -> Plan:
    """A plan of its own, run before the others: asks about labelled reviews, written or rated, and returns fits by language.

    Where the first of a language show that the model does not read it at all, the others are not asked. `some_may_fail`: a review without
    an answer is left out, as long as most have one. Raises TaskFailed.
    """
    askers = {language: asker_in(language, QUESTIONS, tokens) for language in sorted({anchor.language for anchor in labelled})}
    first = [one for language in askers for one in [anchor for anchor in labelled if anchor.language == language][:PROBE]]
    raw = yield from _raw(first, askers, tokens, some_may_fail)
    seen = fit(raw)
    hopeless = {language for language, one in seen.items() if one.auc < HOPELESS_AUC}
    rest = [anchor for anchor in labelled if anchor not in first and anchor.language not in hopeless]
    return fit(raw | (yield from _raw(rest, askers, tokens, some_may_fail)))


def _raw(
    labelled: Sequence[Anchor], askers: Mapping[str, Asker], tokens: Tokens, some_may_fail: bool
) -> Generator[Sequence[Request], Mapping[str, Answer], dict[Anchor, float]]:
    encoded = tokens.encode([anchor.text for anchor in labelled])
    asked = {
        anchor: askers[anchor.language].ask("sentiment", "calibrate", "", one.ids) for anchor, one in zip(labelled, encoded, strict=True)
    }
    answers: Mapping[str, Answer] = yield list(asked.values())
    failed = [explain(answers[request.key]) for request in asked.values() if not answers[request.key].usable]
    if failed and (not some_may_fail or 2 * len(failed) > len(asked)):
        raise TaskFailed(f"calibration: {failed[0]}")
    return {
        anchor: log_odds(askers[anchor.language], answers[request.key]) for anchor, request in asked.items() if answers[request.key].usable
    }
