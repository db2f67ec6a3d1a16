"""Sentiment: one question per review, one token as the answer, a calibrated score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.records import Answer, Plan, Request, Review, Sentiment, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.calibration import Anchor, Fit, fit
from pipeline.tasks.prompts import does_not_read, explain
from pipeline.tasks.question import Asker, Question
from pipeline.tokens import Tokens

QUESTION = Question(
    before=(
        "Review: Cold noodles, rude waiter.\n\nOverall, the customer felt disappointed.\n\n"
        "Review: Lovely evening, will come again\n\nOverall, the customer felt satisfied.\n\n"
        "Review: ok place but my order was wrong and late\n\nOverall, the customer felt unhappy.\n\n"
        "Review: Tasty!\n\nOverall, the customer felt happy.\n\n"
        "Review: Not worth it\n\nOverall, the customer felt disappointed.\n\n"
        "Review: "
    ),
    after="\n\nOverall, the customer felt",
    words={"satisfied": (" happy", " satisfied", " good", " great"), "dissatisfied": (" unhappy", " disappointed", " bad", " terrible")},
)
"""Chosen among five with the embedded model, boundary from the anchors. The examples are one prefix that the cache computes once; without
them, area under the curve on 200 rated reviews .985 against .995 and one clearly bad short review in six was called good, against none."""
NEUTRAL_WIDTH = 0.3
"""Scores this close to 0 are neutral. Balanced accuracy with neutral counted as wrong on those 200 reviews: .958 at 0, .945 at 0.3, .942 at
0.5."""


class SentimentTask:
    """Labels every review of a restaurant."""

    name: TaskName = "sentiment"
    wording = f"{QUESTION} {NEUTRAL_WIDTH}"

    def __init__(self, tokens: Tokens, fits: Mapping[str, Fit]) -> None:
        """`fits` by language, from `calibrate`; a language that is not in it, or not readable, stays unlabelled."""
        self._asker = Asker(tokens, QUESTION)
        self._fits = fits
        self.overhead = self._asker.overhead

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
        """A request per review, by its place, where the model reads its language."""
        reviews = restaurant.restaurant.reviews
        return {
            i: self._asker.ask("sentiment", "label", restaurant.restaurant.restaurant_id, restaurant.ids[i], chunk)
            for chunk, run in enumerate(restaurant.chunks)
            for i in run
            if (it := self._fits.get(reviews[i].language)) is not None and it.readable
        }

    def labels(self, restaurant: Tokenised, asked: Mapping[int, Request], answers: Mapping[str, Answer]) -> list[Sentiment]:
        """One per review, in order."""
        reviews = restaurant.restaurant.reviews
        return [
            self._label(review, self._fits.get(review.language), answers[asked[i].key] if i in asked else None)
            for i, review in enumerate(reviews)
        ]

    def _label(self, review: Review, calibration: Fit | None, answer: Answer | None) -> Sentiment:
        if answer is None or calibration is None or not answer.usable:
            return Sentiment(review.review_id, None, None)
        score = calibration.score(log_odds(self._asker, answer))
        label = "neutral" if abs(score) < NEUTRAL_WIDTH else "positive" if score > 0 else "negative"
        return Sentiment(review.review_id, label, score)


def log_odds(asker: Asker, answer: Answer) -> float:
    """Raw log-odds of a satisfied guest, before calibration."""
    found = asker.log_probabilities(answer)
    return found["satisfied"] - found["dissatisfied"]


def calibrate(tokens: Tokens, written: Sequence[Anchor]) -> Plan:
    """A plan of its own, run before the others: asks about the anchors, returns fits by language."""
    asker = Asker(tokens, QUESTION)
    encoded = tokens.encode([anchor.text for anchor in written])
    asked = {anchor: asker.ask("sentiment", "calibrate", "", one.ids) for anchor, one in zip(written, encoded, strict=True)}
    answers: Mapping[str, Answer] = yield list(asked.values())
    failed = [explain(answers[request.key]) for request in asked.values() if not answers[request.key].usable]
    if failed:
        raise TaskFailed(f"calibration: {failed[0]}")
    return fit({anchor: log_odds(asker, answers[request.key]) for anchor, request in asked.items()})
