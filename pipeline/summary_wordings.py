"""How well wordings of the request for a summary do on real reviews: what they say of a restaurant has to be in its reviews and not in
everybody's.

Support alone rewards saying nothing: "The food is good" is supported anywhere. So each generated sentence is also held against as many
reviews of other restaurants, and the difference of the two shares is the figure that counts. The published summary is compared with reviews
it was not made from by the words they share: ROUGE-1, averaged over those reviews (word overlap of Chu & Liu 2019, "MeanSum", ICML), beside
the same for a random review in the summary's place.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from statistics import fmean
from typing import Any

from pipeline.engine import Engine
from pipeline.groups import Groups
from pipeline.job import CHUNK_TOKENS
from pipeline.order import ORDERS
from pipeline.records import Outcome, Restaurant, Sampling, Summary
from pipeline.restaurants import tokenise
from pipeline.run import Loop
from pipeline.store import Answers
from pipeline.tasks.overlap import Spoken, spoken, supporting
from pipeline.tasks.summary import WORDING, SummaryTask, Wording, sentences_of
from pipeline.tokens import Tokens

DRAWS = 5
"""Of other restaurants' reviews, and of random reviews, for each restaurant."""
TOGETHER = 20
"""Restaurants that all wordings are asked about before the next ones, so that their reviews stay in the prefix cache."""


@dataclass(frozen=True, slots=True)
class Case:
    """A restaurant with the reviews that are shown to the model, texts it does not see, and what other restaurants' guests wrote: draws of
    as many reviews as are shown, by their content words."""

    restaurant: Restaurant
    left_out: Sequence[str]
    others: Sequence[Sequence[Spoken]]


@dataclass(frozen=True, slots=True)
class Said:
    """What a wording led to: the sentences generated, whether the answer was whole, and the summary published."""

    case: Case
    sentences: Sequence[str]
    cut_off: bool
    output_tokens: int
    summary: Summary


def wordings() -> dict[str, Wording]:
    """By name: the kept one and its rivals, which differ in the request alone."""
    kept = WORDING["en"]
    rivals = tomllib.loads(files("pipeline").joinpath("summary_wordings.toml").read_text(encoding="utf-8"))
    return {"kept": kept} | {name: _rival(kept, **text) for name, text in rivals.items()}


def _rival(kept: Wording, part: str, start: str, regex: str | None = None) -> Wording:
    sampling = Sampling(kept.sampling.max_tokens, regex=regex) if regex else kept.sampling
    return replace(kept, part=part, start=start, sampling=sampling)


def cases(groups: Groups, skip: int, count: int, shown: int, left_out: int, seed: int) -> list[Case]:
    """`count` restaurants in the order of their ids, after the first `skip`. Of each the first `shown` reviews by date are shown and the
    next `left_out` are not; the other restaurants are all others of the dump."""
    everyone = list(groups.hand_out(["restaurant_id"]))
    words = {one.restaurant_id: [spoken(review.text) for review in one.reviews] for one in everyone}
    draw = random.Random(seed)
    found = []
    for one in everyone[skip : skip + count]:
        reviews = one.reviews[:shown]
        elsewhere = [some for name, theirs in words.items() if name != one.restaurant_id for some in theirs]
        others = [draw.sample(elsewhere, len(reviews)) for _ in range(DRAWS)]
        found.append(Case(replace(one, reviews=reviews), [review.text for review in one.reviews[shown : shown + left_out]], others))
    return found


def measure(
    cases: Sequence[Case],
    wordings: Mapping[str, Wording],
    tokens: Tokens,
    engine: Engine,
    store: Answers,
    seed: int,
    tell: Callable[[str], None] = lambda what: None,
    check: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, Any]]:
    """Figures by wording, of English restaurants. `check` may raise to stop."""
    said: dict[str, list[Said]] = {name: [] for name in wordings}
    for start in range(0, len(cases), TOGETHER):
        some = cases[start : start + TOGETHER]
        tell(f"{start} of {len(cases)} restaurants")
        for name, wording in wordings.items():
            said[name] += _ask(some, SummaryTask(tokens, {"en"}, {"en": wording}), tokens, engine, store, check)
    for answered in said.values():
        answered.sort(key=lambda one: one.case.restaurant.restaurant_id)  # the same draws for all
    return {name: shares(answered) | overlaps(answered, seed) for name, answered in said.items()}


def _ask(
    cases: Sequence[Case], task: SummaryTask, tokens: Tokens, engine: Engine, store: Answers, check: Callable[[], None]
) -> Iterator[Said]:
    by_id = {case.restaurant.restaurant_id: case for case in cases}
    budget = min(CHUNK_TOKENS, engine.max_model_len - task.overhead)
    restaurants = tokenise((case.restaurant for case in cases), tokens, budget)
    for outcome in Loop([task], ORDERS["fifo"], engine, store=store).run(restaurants, check):
        yield _said(by_id[outcome.restaurant.restaurant_id], outcome)


def _said(case: Case, outcome: Outcome) -> Said:
    last = outcome.asked[-1].answer  # the only part, or the merge at the top of the tree
    tokens = sum(asked.answer.output_tokens for asked in outcome.asked)
    return Said(case, sentences_of(last), not last.usable, tokens, outcome.results["summary"])


def shares(said: Sequence[Said]) -> dict[str, Any]:
    """Of all generated sentences those that are supported, by the restaurant's reviews and by as many others; what was published."""
    generated = [(sentence, one.case) for one in said for sentence in one.sentences]
    own = [_supported(sentence, [spoken(review.text) for review in case.restaurant.reviews]) for sentence, case in generated]
    elsewhere = [fmean(_supported(sentence, others) for others in case.others) for sentence, case in generated]
    published = [one.summary for one in said]
    return {
        "restaurants": len(said),
        "sentences": len(generated),
        "supported": round(fmean(own), 3) if own else None,
        "supported_elsewhere": round(fmean(elsewhere), 3) if own else None,
        "gap": round(fmean(own) - fmean(elsewhere), 3) if own else None,
        "cut_off": sum(one.cut_off for one in said),
        "output_tokens": sum(one.output_tokens for one in said),
        "published_sentences": sum(len(summary.sentences) for summary in published),
        "published_unsupported": sum(_unsupported(one) for one in said),
        "published_empty": sum(not summary.text.strip() for summary in published),
        "kinds": {kind: sum(summary.kind == kind for summary in published) for kind in ("generated", "mixed", "extractive")},
    }


def _supported(sentence: str, reviews: Sequence[Spoken]) -> bool:
    return bool(supporting(sentence, reviews))


def _unsupported(one: Said) -> int:
    """Published sentences that none of the reviews named behind them holds: by content words, or verbatim."""
    texts = {review.review_id: review.text for review in one.case.restaurant.reviews}
    return sum(
        not any(supporting(sentence, [spoken(texts[i])]) or sentence.removesuffix("…") in texts[i] for i in ids)
        for sentence, ids in zip(one.summary.sentences, one.summary.review_ids, strict=True)
    )


def overlaps(said: Sequence[Said], seed: int) -> dict[str, float | None]:
    """F1 of ROUGE-1 with stems against reviews left out, of the published summary and of a random shown review."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer, draw = RougeScorer(["rouge1"], use_stemmer=True), random.Random(seed)

    def overlap(text: str, others: Sequence[str]) -> float:
        return fmean(scorer.score(other, text)["rouge1"].fmeasure for other in others)

    comparable = [one for one in said if one.case.left_out]
    if not comparable:
        return {"rouge1": None, "rouge1_of_a_random_review": None}
    randomly = [
        fmean(overlap(review.text, one.case.left_out) for review in draw.choices(one.case.restaurant.reviews, k=DRAWS))
        for one in comparable
    ]
    return {
        "rouge1": round(fmean(overlap(one.summary.text, one.case.left_out) for one in comparable), 3),
        "rouge1_of_a_random_review": round(fmean(randomly), 3),
    }
