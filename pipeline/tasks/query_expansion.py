"""Query expansion: other words for a search query, in its own language: the same wish said otherwise, dishes, the cuisine, the place.

One short question each, since a small model that is asked for a list repeats its first item. The examples come first, so that all queries
share them in the prefix cache, and the query last, on a line of its own. Digits are kept out of the form: greedy decoding of the embedded
model runs into "1.1.1.1".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.reads import Reads
from pipeline.records import Answer, Expansions, Plan, Request, Sampling, TokenIds
from pipeline.restaurants import Tokenised
from pipeline.tasks.expansion_wording import WORDINGS, Wording
from pipeline.tasks.kind import TaskKind
from pipeline.tasks.overlap import content_words
from pipeline.tasks.prompts import does_not_read, explain, make_request
from pipeline.tokens import Tokens, concatenate


class QueryExpansionTask:
    """Expands search queries. To the loop a query is a restaurant of one review: a name, a text, a language."""

    name: str = "query_expansion"
    wording = repr(WORDINGS)
    reads: Mapping[str, Reads] = {}

    def __init__(self, tokens: Tokens, readable: Collection[str]) -> None:
        """`readable`: languages that the model was found to read."""
        self._readable = readable
        self._asks = {language: _Asks(tokens, wording) for language, wording in WORDINGS.items()}
        self.overhead = max(one.overhead for one in self._asks.values())

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Expansions out of the questions with a usable answer. Raises TaskFailed where there is none, or no model for the
        language."""
        (query,) = restaurant.restaurant.reviews
        if query.language not in self._readable:
            raise OutOfReach(does_not_read([query.language]))
        wording = WORDINGS[query.language]
        requests = self._asks[query.language].requests(restaurant.restaurant.restaurant_id, restaurant.ids[0])
        answers: Mapping[str, Answer] = yield requests
        found = [answers[request.key] for request in requests]
        if not any(answer.usable for answer in found):
            raise TaskFailed(explain(found[0]))
        return usable([parse(answer.text, wording) for answer in found if answer.usable], query.text, wording)


class _Asks:
    """The questions of one language for one model."""

    def __init__(self, tokens: Tokens, wording: Wording) -> None:
        self._parts: dict[str, tuple[TokenIds, TokenIds]] = {
            name: (concatenate(tokens.begin, tokens.part(wording.before(name))), tokens.part(wording.after(name))) for name in wording.asks
        }
        self._sampling: Sampling = wording.sampling
        self.overhead = sum(len(before) + len(after) + self._sampling.max_tokens for before, after in self._parts.values())

    def requests(self, name: str, query: TokenIds) -> list[Request]:
        """One per question."""
        return [
            make_request("query_expansion", stage, name, concatenate(before, query, after), self._sampling, chunk, common=len(before))
            for chunk, (stage, (before, after)) in enumerate(self._parts.items())
        ]


def parse(text: str, wording: Wording) -> str:
    """The expansion that an answer is. Raises TaskFailed where it has another form."""
    said = text.strip()
    if not re.fullmatch(wording.expansion, said):
        raise TaskFailed("the answer is not in the form asked for")
    return said


def usable(expansions: Sequence[str], query: str, wording: Wording) -> Expansions:
    """Those that say something else than the query and those before them, be it in another order of words, that are in the query's
    language, and that do not run in a circle. The prompt's examples for other queries count as said already, unless they have a word in
    common with this one."""
    asked = _said(query)
    others = (said for ask in wording.asks.values() for shown, said in ask.examples.items() if _said(shown) != asked)
    examples = {said for some in others for one in some.split(", ") if not (said := _said(one)) & asked}
    seen = {asked}
    kept = []
    for expansion in expansions:
        said = _said(expansion)
        if said in seen or said in examples or _in_a_circle(expansion) or not wording.speaks(expansion):
            continue
        seen.add(said)
        kept.append(expansion)
    return Expansions(tuple(kept), dropped=len(expansions) - len(kept))


def _said(text: str) -> frozenset[str]:
    return content_words(text) or frozenset([" ".join(text.casefold().split())])


def _in_a_circle(expansion: str) -> bool:
    """Fewer than half of its words are different ones: "pizza pizza pizza", not "shabu shabu"."""
    words = expansion.casefold().split()
    return 2 * len(set(words)) < len(words)


KIND = TaskKind(
    "query_expansion",
    0,
    QueryExpansionTask.wording,
    make=lambda means: QueryExpansionTask(means.tokens, means.readable),
    output_tokens={"expand": 8},
    of_restaurants=False,
)
"""First in the order `task`: somebody waits for that; then the shortest answers."""
