"""Query expansion: other words for a search query, in its own language: the same wish said otherwise, dishes, the cuisine.

The examples come first, so that every query shares them in the prefix cache, and the query last, on a line of its own. Digits are kept out
of the form: greedy decoding of the embedded model runs into "1.1.1.1".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import OutOfReach, TaskFailed
from pipeline.records import Answer, Expansions, Plan, Sampling, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.overlap import content_words
from pipeline.tasks.prompts import does_not_read, explain, make_request
from pipeline.tokens import Tokens, concatenate

LEAST, MOST, MOST_WORDS, MAX_TOKENS = 3, 8, 5, 160
"""Expansions of one query, words of one expansion, tokens of an answer, which a language of many tokens a word may not reach the end of."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What is said around a query of one language, with examples. `letters`: a class of a regular expression; no expansion holds others."""

    instruction: str
    query: str
    expansions: str
    letters: str
    examples: Mapping[str, tuple[str, ...]]

    @property
    def before(self) -> str:
        """All up to the query."""
        shown = "".join(
            f"{self.query}: {query}\n{self.expansions}: {', '.join(expansions)}\n\n" for query, expansions in self.examples.items()
        )
        return f"{self.instruction}\n\n{shown}{self.query}: "

    @property
    def after(self) -> str:
        """From the query to the answer."""
        return f"\n{self.expansions}:"

    @property
    def expansion(self) -> str:
        """The form of one expansion."""
        word = rf"[{self.letters}][{self.letters}'’&-]{{0,14}}"
        return rf"{word}( {word}){{0,{MOST_WORDS - 1}}}"

    @property
    def sampling(self) -> Sampling:
        """The line end is part of the form: a model goes on with another query sooner than it ends."""
        return Sampling(MAX_TOKENS, regex=rf" {self.expansion}(, {self.expansion}){{{LEAST - 1},{MOST - 1}}}\n")


WORDINGS = {
    "en": Wording(
        instruction="Write other search queries for the same wish: other words, names of dishes, the cuisine.",
        query="Query",
        expansions="Also",
        letters="A-Za-zÀ-ɏ",
        examples={
            "cheap falafel near me": ("affordable chickpea wraps", "budget lebanese lunch", "hummus and pita", "inexpensive falafel bar"),
            "where to eat pasta": ("italian restaurant", "spaghetti and lasagne", "trattoria", "homemade ravioli"),
            "something for a hangover": ("greasy fry up", "eggs and strong espresso", "comfort food", "hearty soup"),
            "paella": ("spanish rice with seafood", "valencian cooking", "arroz negro", "spanish restaurant"),
            "somewhere posh with a view": (
                "elegant skyline restaurant",
                "upscale panoramic bistro",
                "fancy terrace",
                "gourmet food overlooking the city",
            ),
        },
    ),
    "ko": Wording(
        instruction="같은 것을 찾는 다른 검색어를 쓰세요: 다른 표현, 음식 이름, 음식 종류.",
        query="검색어",
        expansions="다른 검색어",
        letters="A-Za-z가-힣",
        examples={
            "싸고 양 많은 김밥집": ("저렴한 분식", "가성비 좋은 김밥", "푸짐한 분식집", "떡볶이와 튀김"),
            "파스타 먹고 싶다": ("이탈리안 레스토랑", "스파게티 맛집", "라자냐", "크림 파스타"),
            "해장할 곳": ("해장국", "뼈다귀 해장국", "콩나물국밥", "얼큰한 국물"),
            "삼겹살": ("돼지고기 구이", "목살 구이", "고깃집", "숯불 구이"),
            "전망 좋은 고급 식당": ("야경 레스토랑", "분위기 좋은 다이닝", "루프탑 식당", "스카이라운지"),
        },
    ),
}


class QueryExpansionTask:
    """Expands search queries. To the loop a query is a restaurant of one review: a name, a text, a language."""

    name: TaskName = "query_expansion"
    wording = repr(WORDINGS)

    def __init__(self, tokens: Tokens, readable: Collection[str]) -> None:
        """`readable`: languages that the model was found to read."""
        self._readable = readable
        self._around = {
            language: (concatenate(tokens.begin, tokens.part(one.before)), tokens.part(one.after)) for language, one in WORDINGS.items()
        }
        self.overhead = max(len(before) + len(after) for before, after in self._around.values()) + MAX_TOKENS

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Expansions. Raises TaskFailed where the answer was cut off or has another form, or no model reads the language."""
        (query,) = restaurant.restaurant.reviews
        if query.language not in self._readable:
            raise OutOfReach(does_not_read([query.language]))
        (before, after), wording = self._around[query.language], WORDINGS[query.language]
        prompt = concatenate(before, restaurant.ids[0], after)
        request = make_request(self.name, "expand", restaurant.restaurant.restaurant_id, prompt, wording.sampling)
        answers: Mapping[str, Answer] = yield [request]
        answer = answers[request.key]
        if not answer.usable:
            raise TaskFailed(explain(answer))
        return usable(parse(answer.text, wording), query.text, wording)


def parse(text: str, wording: Wording) -> list[str]:
    """The expansions of an answer. Raises TaskFailed where it has another form."""
    found = text.strip().split(", ")
    if not LEAST <= len(found) <= MOST or not all(re.fullmatch(wording.expansion, one) for one in found):
        raise TaskFailed("the answer is not in the form asked for")
    return found


def usable(expansions: Sequence[str], query: str, wording: Wording) -> Expansions:
    """Those that say something else than the query and those before them, be it in another order of words, that are in the query's
    language, and that do not run in a circle. The prompt's examples for other queries count as said already, unless they have a word in
    common with this one."""
    asked = _said(query)
    others = (some for query, some in wording.examples.items() if _said(query) != asked)
    examples = {said for some in others for one in some if not (said := _said(one)) & asked}
    seen = {asked}
    kept = []
    for expansion in expansions:
        said = _said(expansion)
        if said in seen or said in examples or _in_a_circle(expansion) or not _mostly(wording.letters, expansion):
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


def _mostly(letters: str, expansion: str) -> bool:
    """Of Korean, where Latin letters are allowed: at least a third Hangul, the rule by which a query is taken to be Korean."""
    if "가" not in letters:
        return True
    hangul = len(re.findall("[가-힣]", expansion))
    return 2 * hangul >= len(re.findall("[A-Za-z]", expansion)) and hangul > 0
