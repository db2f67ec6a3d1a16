"""Workloads of any size, drawn with a seed: what restaurants ask, with lengths as the embedded model counts them.

For sizes that no test machine can run, and for questions about orders that need no particular dump.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pipeline.records import Request, Restaurant, Sampling
from pipeline.restaurants import MOST_REVIEWS
from pipeline.sampling import MAX_REVIEWS
from pipeline.simulation.workload import Ask, Bundle, Shared, Stage, blank
from pipeline.tasks.known import TASKS

EXAMPLES, QUESTION, ASPECT = 97, 7, 16
"""Tokens of the question about sentiment before and after the review; after it, of the question about aspects, which goes on there."""
BEFORE, MARKS, PART, FIND, MERGE, PARTIAL, COMPARE, STRENGTH = 40, 4, 36, 23, 65, 90, 100, 90
"""Tokens of the other wordings: before a chunk, around a review in it, after it for either task; of a merge and of one partial summary in
it; of the two texts of a comparison."""
REVIEW_TOKENS, DEVIATION, MOST_TOKENS = 66, 1.0, 500
"""Mean of 9,955 English reviews, half of which have up to 45 tokens; of the logarithms; of a review at most."""
CHUNK, MERGED, PEERS = 1600, 15, 20
"""Tokens of reviews in a chunk, partial summaries in a merge, peers of a restaurant."""
CLAIMS = 2  # of a chunk, asked about one by one
_WORDING, _EXAMPLES = 0, 1  # pieces that all restaurants share
_ONE, _TEXT = Sampling(1), Sampling(160)


@dataclass(frozen=True)
class Drawn:
    """`least` to `most` reviews of a restaurant, log-uniform between them. `positive`: share of reviews that are asked about aspects, too.
    A text has `text_tokens` on average, evenly between half and one and a half of it. The same draw is the same workload, whatever part of
    it is looked at."""

    count: int
    seed: int = 7
    least: int = 2
    most: int = 100
    positive: float = 0.6
    text_tokens: int = 50
    compared: bool = True

    @cached_property
    def sizes(self) -> Sequence[int]:
        """Reviews by restaurant."""
        random = np.random.default_rng(self.seed)
        drawn: list[int] = np.exp(random.uniform(np.log(self.least), np.log(self.most + 1), self.count)).astype(int).tolist()
        return drawn

    @cached_property
    def restaurants(self) -> Sequence[Restaurant]:
        per_review = 2 * REVIEW_TOKENS + MARKS + QUESTION  # the examples come from the prefix cache
        estimates = (size * per_review + PART + FIND for size in self.sizes)
        return [Restaurant(f"r{place:07d}", (), arrival=place, estimate=estimate) for place, estimate in enumerate(estimates)]

    @property
    def labels(self) -> Sequence[int]:
        """A question about sentiment for each review."""
        return self.sizes

    @property
    def tasks(self) -> frozenset[str]:
        return frozenset(TASKS)

    def bundle(self, place: int) -> Bundle:
        """What one restaurant asks."""
        random = np.random.default_rng([self.seed, place])
        size, restaurant = self.sizes[place], self.restaurants[place]
        mean = np.log(REVIEW_TOKENS) - DEVIATION**2 / 2
        lengths: list[int] = random.lognormal(mean, DEVIATION, size).clip(1, MOST_TOKENS).astype(int).tolist()
        liked: list[bool] = (random.random(size) < self.positive).tolist()
        chunks = _chunks(lengths[:MAX_REVIEWS])
        texts = iter(random.integers(self.text_tokens // 2, self.text_tokens * 3 // 2 + 1, 3 * len(chunks) + 8).tolist())
        name = restaurant.restaurant_id

        def ask(task: str, stage: str, prompt: int, shared: Shared, chunk: int = 0, text: bool = False, over: int = 0) -> Ask:
            sampling, common = _TEXT if text else _ONE, sum(tokens for piece, tokens in shared if piece >= 0)
            return Ask(Request("", task, stage, name, blank(prompt), sampling, chunk, over, common), next(texts) if text else 1, shared)

        examples: Shared = ((_EXAMPLES, EXAMPLES),)
        reviews: list[Shared] = [(*examples, (-1 - i, length + QUESTION)) for i, length in enumerate(lengths)]
        over: list[Shared] = [((_WORDING, BEFORE), (-1 - size - number, tokens)) for number, (tokens, _) in enumerate(chunks)]
        chunk_of = [number for number, (_, members) in enumerate(chunks) for _ in range(members)]
        chunk_of += [len(chunks)] * (size - len(chunk_of))  # those that are not in the sample
        label = [ask("sentiment", "label", EXAMPLES + length + QUESTION, reviews[i], chunk_of[i]) for i, length in enumerate(lengths)]
        both = [
            [
                ask("summary" if stage == "part" else "strengths", stage, BEFORE + tokens + tail, over[i], i, True, BEFORE + tokens)
                for i, (tokens, _) in enumerate(chunks)
            ]
            for stage, tail in (("part", PART), ("find", FIND))
        ]
        praise = [
            ask("strengths", "praise", EXAMPLES + lengths[i] + ASPECT, reviews[i], chunk) for i, chunk in enumerate(chunk_of) if liked[i]
        ]
        claims = [
            ask("strengths", stage, EXAMPLES + 10 + further, examples, len(chunks))
            for stage, further in (("tone", QUESTION), ("aspect", ASPECT))
            for _ in range(CLAIMS * len(chunks))
        ]
        stages = [Stage(tuple(label)), Stage(tuple(both[0])), Stage(tuple(both[1])), Stage((*praise, *claims), (0, 2))]
        parts, before = len(chunks), 1
        while parts > 1:
            groups = [min(MERGED, parts - start) for start in range(0, parts, MERGED)]
            merges = [ask("summary", "merge", MERGE + PARTIAL * n, (), len(chunks), True) for n in groups if n > 1]
            stages.append(Stage(tuple(merges), (before,)))
            parts, before = len(groups), len(stages) - 1
        if self.compared and self.count > 1:
            stages.append(Stage((ask("strengths", "compare", COMPARE, (), text=True),), compares=True))
            stages.append(Stage((ask("strengths", "strength", STRENGTH, (), text=True),), (len(stages) - 1,), compares=True))
        return Bundle(restaurant, tuple(stages), self._peers(place))

    def _peers(self, place: int) -> tuple[int, ...]:
        """Of the restaurants that arrive around the same time."""
        if not self.compared:
            return ()
        first = max(0, min(place - PEERS // 2, self.count - PEERS - 1))
        return tuple(other for other in range(first, min(first + PEERS + 1, self.count)) if other != place)


def _chunks(lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Tokens and reviews of each chunk."""
    chunks: list[tuple[int, int]] = []
    for length in lengths:
        if chunks and chunks[-1][0] + length + MARKS <= CHUNK and chunks[-1][1] < MOST_REVIEWS:
            chunks[-1] = (chunks[-1][0] + length + MARKS, chunks[-1][1] + 1)
        else:
            chunks.append((length + MARKS, 1))
    return chunks
