"""Occasion: what guests come for, a word per chunk, the word of most chunks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import polars as pl

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.records import Answer, Plan, Request, Restaurant, Sampling
from pipeline.restaurants import Tokenised
from pipeline.tasks.kind import Means, Row, TaskKind
from pipeline.tasks.prompts import ChunkPrompt, does_not_read, explain, main_language, make_request
from pipeline.tokens import concatenate

ASK = {"en": "What do the guests above come for? Answer with one word.", "ko": "위 손님들은 무엇 때문에 왔나요? 한 단어로 답하세요."}
OCCASIONS = ("breakfast", "lunch", "dinner", "coffee", "drinks", "celebration")
SAMPLING = Sampling(max_tokens=8, regex=f" ({'|'.join(OCCASIONS)})")


class OccasionTask:
    name = "occasion"
    wording = f"{ASK} {SAMPLING}"

    def __init__(self, means: Means) -> None:
        self._chunks = ChunkPrompt(means.tokens)
        self._tails = {one: self._chunks.tail(ASK[one], one, "They come for") for one in means.readable}
        self.reads = {one: self._chunks.reads(one, tail) for one, tail in self._tails.items()}
        self.overhead = self._chunks.overhead(*self._tails.values()) + SAMPLING.max_tokens

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns a word. Raises TaskFailed where no chunk has one."""
        language = main_language(restaurant.restaurant.reviews)
        if language not in self._tails:
            raise OutOfReach(does_not_read([language]))
        asked = [self._ask(restaurant, number, language) for number in range(len(restaurant.chunks))]
        answers: Mapping[str, Answer] = yield asked
        words = Counter(answers[one.key].text.strip() for one in asked if answers[one.key].usable)
        if not words:
            raise TaskFailed(explain(answers[asked[0].key]))
        return min(words, key=lambda word: (-words[word], word))

    def _ask(self, restaurant: Tokenised, number: int, language: str) -> Request:
        reviews = self._chunks.shared(restaurant, restaurant.chunks[number], language)
        prompt = concatenate(reviews, self._tails[language])
        name, common = restaurant.restaurant.restaurant_id, self._chunks.common(language)
        return make_request(self.name, "ask", name, prompt, SAMPLING, number, len(reviews), common)


def row(word: str | None, _: Restaurant) -> Row:
    return {"occasion": word}


KIND = TaskKind("occasion", 4, OccasionTask.wording, OccasionTask, {"occasion": pl.String()}, row, {"ask": 2})
