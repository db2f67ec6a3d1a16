"""What follows from answers that nobody has yet: merges, questions about praise, comparisons. Expected, with bounds.

The shares below were measured on 546 rated English reviews of 30 restaurants (sizes 2 to 59), embedded model, 1,121 requests; where they
stand for another model or language they are a guess, and the bounds beside them are not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.amounts import Amounts
from pipeline.comparing import Comparing
from pipeline.records import Answer, Praise, Request, Review, TokenIds
from pipeline.replay import UNANSWERED, Reached, Replay
from pipeline.restaurants import Tokenised, place
from pipeline.tasks.aspects import Praises
from pipeline.tasks.comparison import ComparisonTask, Stand
from pipeline.tasks.figures import LEAST_REVIEWS
from pipeline.tasks.prompts import main_language
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tasks.strengths import LEAST, MOST
from pipeline.tasks.summary import SummaryTask, fitting
from pipeline.tokens import Tokens

POSITIVE = {"above": 0.96, "three": 0.49, "below": 0.06, "unrated": 0.65}
"""Reviews found positive, by stars: 313 of 326 above 3, 31 of 63 with 3, 9 of 156 below; 354 of all 546."""
CLAIMS_PER_CHUNK, MOST_CLAIMS = 1.2, 4
"""60 claims in 51 chunks of 40 restaurants with 25 reviews each that one sentence of a positive review supports; an answer holds four at
most."""
SAYINGS = 2.35
"""Sentences of the reviews that stand in where claims are few, a restaurant: 94 of the same 40."""
CLAIM_TOKENS = 7
PART_TOKENS = 45
"""A partial summary in a merge, 1,400 tokens in 7 merges of 22 parts less the wording."""
STRENGTH_BESIDE_PEERS, STRENGTH_ALONE = 0.7, 0.9
"""Restaurants with a clear lead: 14 of 20 compared with others, 9 of 10 described alone."""
TEXT_TOKENS = {"compare": 142, "strength": 93}
"""Of the prompts that put figures into words."""
TEXT_SHARED = 40
"""Tokens that they begin with and all have in common, about: 1,440 tokens of 43 came from the cache, in blocks of 32."""


def positive_share(review: Review) -> float:
    """How likely a review is found positive, by its stars."""
    if review.rating is None or review.rating != review.rating:
        return POSITIVE["unrated"]
    return POSITIVE["three" if review.rating == 3 else "above" if review.rating > 3 else "below"]


def asked_claims(chunks: int) -> tuple[float, int]:
    """Claims of a restaurant that are asked about, sentences of its reviews among them: expected, and at most."""
    return CLAIMS_PER_CHUNK * chunks + SAYINGS, min(MOST_CLAIMS * chunks, MOST) + LEAST


def expected_merges(places: Sequence[bytes], fresh: Sequence[bool], budget: int) -> list[int]:
    """Parts in each merge that is to be asked; `fresh`: whether a part at this place is new, so that the merges above it are."""
    merges = []
    level = list(zip(places, fresh, strict=True))
    while len(level) > 1:
        groups = fitting([where for where, _ in level], [PART_TOKENS] * len(level), budget)
        above = [(level[group.start][0], any(new for _, new in level[group.start : group.stop])) for group in groups]
        merges += [len(group) for group, (_, new) in zip(groups, above, strict=True) if new and len(group) > 1]
        level = above
    return merges


@dataclass
class Following:
    """Adds to the amounts of a replay what follows for each restaurant. `read_before`: cached tokens of praise questions that are reviews,
    read long before, and not the wording that all of them have in common."""

    replay: Replay
    tokens: Tokens
    sentiment: SentimentTask
    summary: SummaryTask
    compared: Comparing
    read_before: float = 0.0

    def __post_init__(self) -> None:
        self._praises = Praises(self.tokens)
        self._followed: set[str] = set()

    @property
    def _amounts(self) -> Amounts:
        return self.replay.amounts

    def add(self, restaurant: Tokenised, reached: Reached) -> None:
        """What a restaurant's open plans will ask after the stage that they wait in."""
        stages = {name: {request.stage for request in requests} for name, requests in reached.open.items()}
        if "part" in stages.get("summary", ()) and self._first_time(reached.open["summary"]):
            self._merges(restaurant, {request.chunk for request in reached.open["summary"]})
        if "strengths" in stages:
            if stages["strengths"] & {"find", "label"}:
                self._praise(restaurant, reached)
            self._texts(restaurant)

    def _foresee(self, stage: str, name: str, requests: float, prompt: TokenIds | None = None, tokens: int = 0) -> None:
        if self.replay.foreseen:
            task = "summary" if stage == "merge" else "strengths"
            self.replay.foreseen.expect(task, stage, name, requests, prompt, tokens)

    def _first_time(self, requests: Sequence[Request]) -> bool:
        """Whether any of these was not met before: where all questions are equal, so is what follows, and it is asked once."""
        new = {request.key for request in requests} - self._followed
        self._followed |= new
        return bool(new)

    def _merges(self, restaurant: Tokenised, fresh: set[int]) -> None:
        reviews = restaurant.restaurant.reviews
        places = [place(reviews[chunk[0]]) for chunk in restaurant.chunks]
        merges = expected_merges(places, [number in fresh for number in range(len(places))], restaurant.budget)
        overhead = self.summary.merge_overhead(main_language(reviews))
        for parts in merges:
            self._foresee("merge", restaurant.restaurant.restaurant_id, 1.0, tokens=overhead + PART_TOKENS * parts)
        if merges:
            size = sum(overhead + PART_TOKENS * parts for parts in merges)
            # Where some parts are stored, a new one may say what the one before it said, and then its merge is stored, too.
            least = int(len(fresh) == len(places))
            self._amounts.of("summary", "merge").expect(len(merges), size, 0, least=least, most=len(places) - 1)

    def _praise(self, restaurant: Tokenised, reached: Reached) -> None:
        """The reviews found positive are asked about; of those whose label is stored it is known which."""
        one, chunks = restaurant.restaurant, restaurant.chunk_of
        asked = {i: request for i, request in self.sentiment.ask(restaurant).items() if i in chunks}
        answers: Mapping[str, Answer] = {
            request.key: reached.answers.get(request.key, Answer(request.key, error=UNANSWERED)) for request in asked.values()
        }
        labels = self.sentiment.labels(restaurant, asked, answers)
        known = {i for i, request in asked.items() if request.key in reached.answers}
        shares = {i: float(labels[i].label == "positive") if i in known else positive_share(one.reviews[i]) for i in asked}
        questions = {
            i: self._praises.ask("praise", one.restaurant_id, one.reviews[i].language, restaurant.ids[i], chunks[i])
            for i in asked
            if shares[i]
        }
        new = {request.key for request in self.replay.new(list(questions.values()))}
        left = {request.key: (shares[i], request) for i, request in questions.items() if request.key in new - self._followed}.values()
        self._followed |= new
        language = main_language(one.reviews)
        prior = self._prior(one.restaurant_id, language)
        shared = sum(share * self.replay.cache.shared(request.prompt) for share, request in left)
        self.read_before += shared - self.replay.cache.shared(prior.prompt) * sum(share for share, _ in left)
        for share, request in left:
            self._foresee("praise", one.restaurant_id, share, request.prompt)
        self._amounts.of("strengths", "praise").expect(
            sum(share for share, _ in left),
            sum(share * len(request.prompt) for share, request in left),
            shared,
            least=sum(share == 1 for share, _ in left),
            most=len(left),
        )
        finds = sum(request.stage == "find" for request in reached.open["strengths"])
        claims, most = asked_claims(finds)
        nothing = np.array([], dtype=np.uint32)
        tone = self.sentiment.ask_about("strengths", "tone", one.restaurant_id, language, nothing, 0)
        for stage, prompt in (("tone", tone.prompt), ("aspect", prior.prompt)):
            shared, size = self.replay.cache.shared(prompt), len(prompt) + CLAIM_TOKENS
            self._amounts.of("strengths", stage).expect(claims, claims * size, claims * shared, most=most)
            self._foresee(stage, one.restaurant_id, claims, prompt, size)

    def _prior(self, name: str, language: str) -> Request:
        prior = self._praises.prior(name, language)
        if self.replay.new([prior]) and self._first_time([prior]):
            self._amounts.of("strengths", "prior").expect(1, len(prior.prompt), self.replay.cache.shared(prior.prompt), most=1)
            self._foresee("prior", name, 1.0, prior.prompt)
        return prior

    def _texts(self, restaurant: Tokenised) -> None:
        """A comparison where there are peers and reviews enough; what the restaurant is better at where there is anything."""
        name = restaurant.restaurant.restaurant_id
        peers = self.compared.peers.get(name, ())
        readable = sum(1 for i in self.sentiment.ask(restaurant) if i in restaurant.chunk_of)
        self._text(name, "compare", float(bool(peers) and readable >= LEAST_REVIEWS), most=int(bool(peers)))
        self._text(name, "strength", STRENGTH_BESIDE_PEERS if peers and readable >= LEAST_REVIEWS else STRENGTH_ALONE, most=1)

    def _text(self, name: str, stage: str, requests: float, most: int) -> None:
        cached = self.replay.cache.whole(TEXT_SHARED)
        self._amounts.of("strengths", stage).expect(requests, requests * TEXT_TOKENS[stage], requests * cached, most=most)
        self._foresee(stage, name, requests, tokens=TEXT_TOKENS[stage])

    def compare(self, stands: Mapping[str, Stand], tables: Mapping[str, Praise | None], running: set[str]) -> None:
        """Second stages of restaurants whose own table is known: for certain where those of all their peers are. `running`: restaurants
        whose tables are still to be made."""
        task = ComparisonTask(self.tokens, self.compared.peers, self.compared.languages)
        for name, stand in stands.items():
            peers = self.compared.peers.get(name, ())
            if moving := len(running.intersection(peers)):
                # Shares are rounded to 5 points, so one peer of twenty rarely moves one; taken as in proportion, which is not measured.
                for stage in ("compare", "strength"):
                    self._text(name, stage, moving / len(peers) if stand.shown else 1.0, most=1)
                continue
            plan = task.plan(stand, {peer: tables.get(peer) for peer in peers})
            try:
                requests = next(plan)
                while True:
                    found = self.replay.ask(requests, reviews=stand.table.reviews)
                    # What is asked next does not depend on this answer.
                    requests = plan.send({one.key: found.get(one.key, Answer(one.key, error=UNANSWERED)) for one in requests})
            except StopIteration:
                continue
