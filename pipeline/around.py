"""How many tokens of a prompt are not reviews, by language: found out on the prompts of a restaurant whose one review is empty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from pipeline.records import Request, Restaurant, Review, TokenIds
from pipeline.restaurants import MOST_REVIEWS, Tokenised
from pipeline.tasks.aspects import Praises
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tasks.summary import SummaryTask
from pipeline.tokens import Tokens
from pipeline.work import Task


@dataclass(frozen=True, slots=True)
class Around:
    """Tokens, by language. Of questions about one review: all of `label` and of `praise`, those before the review (`question`), and those
    that both have in common (`shared`). Of prompts over chunks: those `before` the reviews, and `over` them, by task: the stage, the tokens
    behind the reviews, and its answer's most; of a `merge` all but its parts. `marks`: of so many numbered lines."""

    label: dict[str, int]
    praise: dict[str, int]
    question: dict[str, int]
    shared: dict[str, int]
    before: dict[str, int]
    over: dict[str, dict[str, tuple[str, int, int]]]
    merge: dict[str, int]
    marks: list[int]

    def over_chunks(self, language: str) -> Iterator[tuple[str, str, int, int]]:
        """Task, stage, tokens after the reviews, most tokens of the answer, for what is asked about every chunk."""
        for task, (stage, tail, most) in self.over.get(language, {}).items():
            yield task, stage, tail, most

    def asks(self, task: str) -> bool:
        """Whether a task asks about chunks, in any language."""
        return any(task in some for some in self.over.values())


def around(tasks: Sequence[Task], sentiment: SentimentTask, tokens: Tokens, languages: Sequence[str]) -> Around:
    """`tasks`: those that are asked; `sentiment`: also where it is not one of them; `languages`: those that the model reads."""
    lines = [len(tokens.part(f"[{number}] ")) + len(tokens.part("\n")) for number in range(1, MOST_REVIEWS + 1)]
    found = Around({}, {}, {}, {}, {}, {}, {}, [0, *accumulate(lines)])
    by_name = {task.name: task for task in tasks}
    praises = Praises(tokens)
    for language in languages:
        label = _question(sentiment, language, ())
        before = _common(_question(sentiment, language, (1,)), _question(sentiment, language, (2,)))
        praise = praises.ask("praise", "", language, np.array([], dtype=np.uint32)).prompt
        if "sentiment" in by_name or "strengths" in by_name:
            found.label[language], found.question[language] = len(label), before
            found.praise[language], found.shared[language] = len(praise), _common(label, praise)
        else:
            found.label[language] = 0
        for task in tasks:
            if language in task.reads and task.reads[language].chunks:
                request = _first(task, language)
                found.before[language] = request.shared - lines[0]
                size = len(request.prompt) - request.shared
                found.over.setdefault(language, {})[task.name] = request.stage, size, request.sampling.max_tokens
        if isinstance(summary := by_name.get("summary"), SummaryTask):
            found.merge[language] = summary.merge_overhead(language)
    return found


def _restaurant(language: str, ids: Sequence[int]) -> Tokenised:
    review = Review("", "", language)
    return Tokenised(Restaurant("", (review,)), (np.array(ids, dtype=np.uint32),), (range(1),), {}, 1 << 20)


def _question(sentiment: SentimentTask, language: str, ids: Sequence[int]) -> TokenIds:
    return sentiment.ask(_restaurant(language, ids))[0].prompt


def _first(task: Task, language: str) -> Request:
    step = next(task.plan(_restaurant(language, ())))
    assert isinstance(step, Sequence)
    return step[0]


def _common(one: TokenIds, other: TokenIds) -> int:
    """Leading tokens that two prompts share."""
    size = min(len(one), len(other))
    differ = np.flatnonzero(one[:size] != other[:size])
    return int(differ[0]) if len(differ) else size
