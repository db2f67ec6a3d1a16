"""What is said around a search query, in each language: questions, examples, and the form of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.records import Sampling

MOST_WORDS = 5
"""Of one expansion."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What stands before the answer, and answers to the queries that serve as examples. One may name two things; the form of an answer
    ends after the first."""

    label: str
    examples: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Wording:
    """`query`: what stands before a query; `letters`: a class of a regular expression, no expansion holds others; `max_tokens`: of one
    answer."""

    query: str
    letters: str
    max_tokens: int
    asks: Mapping[str, Ask]

    def before(self, name: str) -> str:
        """All up to the query."""
        ask = self.asks[name]
        return "".join(f"{self.query}: {query}\n{ask.label}: {said}\n\n" for query, said in ask.examples.items()) + f"{self.query}: "

    def after(self, name: str) -> str:
        """From the query to the answer."""
        return f"\n{self.asks[name].label}:"

    @property
    def expansion(self) -> str:
        """The form of one expansion."""
        word = rf"[{self.letters}][{self.letters}'’&-]{{0,14}}"
        return rf"{word}( {word}){{0,{MOST_WORDS - 1}}}"

    @property
    def sampling(self) -> Sampling:
        """The line end is part of the form: a model goes on with another query sooner than it ends."""
        return Sampling(self.max_tokens, regex=rf" {self.expansion}\n")

    def speaks(self, expansion: str) -> bool:
        """Whether an expansion is in this language. In Korean ones Latin letters are allowed; at least a third has to be Hangul, the rule
        by which a query is taken to be Korean."""
        if "가" not in self.letters:
            return True
        hangul = len(re.findall("[가-힣]", expansion))
        return hangul > 0 and 2 * hangul >= len(re.findall("[A-Za-z]", expansion))


# Chosen with the embedded model on 50 written queries; three or more usable expansions had: a list of 3 to 8 after five examples, on one
# line 18 of 50, on lines 13, as JSON 9, as JSON in the chat format 6, without examples 10 (it repeats the first item); five questions with
# up to three expansions each 48, up to two 48, one 49, of which 46 without those that three or more queries got (43 with up to three). The
# same with examples of one dish in place of two: 43. Of the 189 usable ones 52 did not fit their query by a person's judgement.
WORDINGS = {
    "en": Wording(
        query="Query",
        letters="A-Za-zÀ-ɏ",
        max_tokens=60,
        asks={
            "wording": Ask(
                "In other words",
                {
                    "cheap falafel near me": "affordable falafel nearby",
                    "where to eat pasta": "places for good pasta",
                    "something for a hangover": "hearty food after drinking",
                    "paella": "spanish rice dish",
                    "somewhere posh with a view": "elegant dining with a skyline",
                    "cold beer on tap": "draught beer",
                    "shop for cheese to take home": "cheesemonger",
                },
            ),
            "dishes": Ask(
                "Dishes",
                {
                    "cheap falafel near me": "falafel wrap, hummus with pita",
                    "where to eat pasta": "spaghetti carbonara, lasagne",
                    "something for a hangover": "bacon and eggs, chicken soup",
                    "paella": "seafood rice, arroz negro",
                    "somewhere posh with a view": "beef wellington, lobster bisque",
                    "cold beer on tap": "pretzels, salted peanuts",
                    "shop for cheese to take home": "brie, blue cheese",
                },
            ),
            "cuisine": Ask(
                "Cuisine",
                {
                    "cheap falafel near me": "lebanese food",
                    "where to eat pasta": "italian food",
                    "something for a hangover": "comfort food",
                    "paella": "spanish food",
                    "somewhere posh with a view": "french haute cuisine",
                    "cold beer on tap": "pub food",
                    "shop for cheese to take home": "delicatessen food",
                },
            ),
            "place": Ask(
                "Kind of place",
                {
                    "cheap falafel near me": "falafel stand",
                    "where to eat pasta": "trattoria",
                    "something for a hangover": "diner",
                    "paella": "spanish restaurant",
                    "somewhere posh with a view": "skyline restaurant",
                    "cold beer on tap": "beer hall",
                    "shop for cheese to take home": "cheese shop",
                },
            ),
            "matter": Ask(
                "What matters",
                {
                    "cheap falafel near me": "low price",
                    "where to eat pasta": "fresh homemade pasta",
                    "something for a hangover": "big portions",
                    "paella": "fresh seafood",
                    "somewhere posh with a view": "panoramic terrace",
                    "cold beer on tap": "many craft beers",
                    "shop for cheese to take home": "aged cheese",
                },
            ),
        },
    ),
    "ko": Wording(
        query="검색어",
        letters="A-Za-z가-힣",
        max_tokens=120,
        asks={
            "wording": Ask(
                "다른 표현",
                {
                    "싸고 양 많은 김밥집": "가성비 좋은 김밥",
                    "파스타 먹고 싶다": "파스타 맛집",
                    "해장할 곳": "술 마신 다음 날 음식",
                    "삼겹살": "돼지고기 구이",
                    "전망 좋은 고급 식당": "야경이 보이는 레스토랑",
                },
            ),
            "dishes": Ask(
                "음식",
                {
                    "싸고 양 많은 김밥집": "참치김밥, 떡볶이",
                    "파스타 먹고 싶다": "크림 파스타, 라자냐",
                    "해장할 곳": "콩나물국밥, 뼈다귀해장국",
                    "삼겹살": "목살 구이, 냉면",
                    "전망 좋은 고급 식당": "스테이크, 코스 요리",
                },
            ),
            "cuisine": Ask(
                "음식 종류",
                {
                    "싸고 양 많은 김밥집": "분식",
                    "파스타 먹고 싶다": "이탈리아 음식",
                    "해장할 곳": "국물 요리",
                    "삼겹살": "고기 요리",
                    "전망 좋은 고급 식당": "양식",
                },
            ),
            "place": Ask(
                "가게 종류",
                {
                    "싸고 양 많은 김밥집": "분식집",
                    "파스타 먹고 싶다": "이탈리안 레스토랑",
                    "해장할 곳": "국밥집",
                    "삼겹살": "고깃집",
                    "전망 좋은 고급 식당": "루프탑 레스토랑",
                },
            ),
            "matter": Ask(
                "중요한 점",
                {
                    "싸고 양 많은 김밥집": "저렴한 가격",
                    "파스타 먹고 싶다": "직접 만든 생면",
                    "해장할 곳": "얼큰한 국물",
                    "삼겹살": "두툼한 고기",
                    "전망 좋은 고급 식당": "탁 트인 창가 자리",
                },
            ),
        },
    ),
}
