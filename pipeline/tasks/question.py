"""A question with one token as its answer: which group of words does the model find most likely next?

The exact log-probabilities of a few words, read in one request without decoding; no label is generated and no form has to be parsed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter

from pipeline.errors import BadConfiguration, TaskFailed
from pipeline.records import Answer, Request, Sampling, TokenIds
from pipeline.tasks.prompts import make_request
from pipeline.tokens import Tokens, concatenate

LEAST_SUM = 1e-200
"""Of probabilities that are added up as they are: below it their digits are lost."""


@dataclass(frozen=True)
class Question:
    """Wording around a text, and words by what they stand for. Words of which a vocabulary makes more than one token are left out."""

    before: str
    after: str
    words: Mapping[str, tuple[str, ...]]


class Asker:
    """Builds a question's requests for one model and reads their answers."""

    def __init__(self, tokens: Tokens, question: Question) -> None:
        """Raises BadConfiguration where a meaning has no word of one token in the model's vocabulary."""
        self._before, self._after = concatenate(tokens.begin, tokens.part(question.before)), tokens.part(question.after)
        self._ids = {meaning: [i for word in words if (i := tokens.word(word)) is not None] for meaning, words in question.words.items()}
        for meaning, ids in self._ids.items():
            if not ids:
                raise BadConfiguration(
                    f"no word for '{meaning}' is one token for this model ({question.words[meaning]}); choose another --model"
                )
        self._of = {meaning: _values_of(ids) for meaning, ids in self._ids.items()}
        self._sampling = Sampling(max_tokens=1, choices=tuple(sorted({i for ids in self._ids.values() for i in ids})))
        self.overhead = len(self._before) + len(self._after) + 1
        self.common = len(self._before)

    def ask(self, task: str, stage: str, restaurant_id: str, text: TokenIds, chunk: int = 0) -> Request:
        """One request about one text."""
        prompt = concatenate(self._before, text, self._after)
        return make_request(task, stage, restaurant_id, prompt, self._sampling, chunk, common=self.common)

    def log_probabilities(self, answer: Answer) -> dict[str, float]:
        """By meaning, the log of the summed probabilities of its words. Raises TaskFailed where the answer has none."""
        found = answer.logprobs
        try:
            return {meaning: _log_sum_exp(of(found)) for meaning, of in self._of.items()}
        except KeyError:
            raise TaskFailed("the engine left out the probabilities of some words") from None


def asker_in(language: str, questions: Mapping[str, Question], tokens: Tokens) -> Asker:
    """The question in this language; the English one where there is none, or the model's vocabulary has no word of one token for one of
    its meanings. Raises BadConfiguration where it has none for the English one either."""
    with suppress(BadConfiguration, KeyError):
        return Asker(tokens, questions[language])
    return Asker(tokens, questions["en"])


def _values_of(ids: Sequence[int]) -> Callable[[Mapping[int, float]], tuple[float, ...]]:
    """The values of these keys; of a single one, too."""
    one = ids[0]
    return itemgetter(*ids) if len(ids) > 1 else lambda found: (found[one],)


def _log_sum_exp(values: tuple[float, ...]) -> float:
    """The values are logs of probabilities, so that their sum is at most 1; shifted where it is nearly 0."""
    if len(values) == 1:
        return values[0]
    total = sum(map(math.exp, values))
    if total > LEAST_SUM:
        return math.log(total)
    most = max(values)
    return most + math.log(sum(math.exp(value - most) for value in values))
