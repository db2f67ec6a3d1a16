"""Strengths: what guests praise, as a list with aspect, claim and the reviews that say so; claims about one aspect merged over chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pipeline.records import Answer, Plan, Request, Sampling, Strength, Strengths, TaskName
from pipeline.restaurants import Tokenised
from pipeline.tasks.prompts import ChunkPrompt, make_request, usable_text
from pipeline.tokens import Tokens, concatenate

ASPECTS = ("taste", "service", "atmosphere", "price", "portion", "speed", "cleanliness", "location", "variety", "delivery", "other")
INSTRUCTION = f"List what guests praise, one per line, as 'aspect: claim [review numbers]'. Aspects: {', '.join(ASPECTS)}. At most 3 lines."
START = "- "
FORM = rf"""
root ::= line ("\n- " line){{0,2}}
line ::= aspect ": " claim " [" number (", " number){{0,3}} "]"
aspect ::= {" | ".join(f'"{aspect}"' for aspect in ASPECTS)}
claim ::= [^\n\[\]]{{8,90}}
number ::= [1-9] [0-9]?
"""
SAMPLING = Sampling(max_tokens=160, grammar=FORM)
_PARSE = re.compile(r"^(?P<aspect>\w+): (?P<claim>.+?) \[(?P<numbers>[\d, ]+)\]$")


class StrengthsTask:
    """Finds what guests praise in each chunk, in a bounded form."""

    name: TaskName = "strengths"
    wording = f"{INSTRUCTION} {START} {SAMPLING}"

    def __init__(self, tokens: Tokens) -> None:
        self._chunks = ChunkPrompt(tokens)
        self._tail = self._chunks.tail(INSTRUCTION, START)
        self.overhead = self._chunks.overhead(self._tail) + SAMPLING.max_tokens

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns Strengths. Raises TaskFailed where an answer failed or was cut off."""
        requests = [self._ask(restaurant, number, chunk) for number, chunk in enumerate(restaurant.chunks)]
        answers: Mapping[str, Answer] = yield requests
        found: list[Strength] = []
        dropped = 0
        for chunk, request in zip(restaurant.chunks, requests, strict=True):
            ids = [restaurant.restaurant.reviews[i].review_id for i in chunk]
            some, without = parse(usable_text(answers[request.key], "find"), ids)
            found += some
            dropped += without
        return Strengths(tuple(merge(found)), dropped)

    def _ask(self, restaurant: Tokenised, number: int, chunk: range) -> Request:
        shared = self._chunks.shared(restaurant, chunk)
        prompt = concatenate(shared, self._tail)
        return make_request("strengths", "find", restaurant.restaurant.restaurant_id, prompt, SAMPLING, number, len(shared))


def parse(text: str, review_ids: Sequence[str]) -> tuple[list[Strength], int]:
    """Claims whose numbers name reviews of the chunk (`review_ids` in order, numbered from 1), and how many named none."""
    found, dropped = [], 0
    for line in text.splitlines():
        match = _PARSE.match(line.strip().removeprefix("- "))
        named = {int(number) for number in re.findall(r"\d+", match["numbers"])} if match else set()
        ids = tuple(review_ids[number - 1] for number in sorted(named) if 1 <= number <= len(review_ids))
        if match and match["aspect"] in ASPECTS and ids:
            found.append(Strength(match["aspect"], match["claim"].strip(), ids))
        else:
            dropped += 1
    return found, dropped


def merge(found: Sequence[Strength]) -> list[Strength]:
    """One strength per aspect, most support first: claim of the one with most reviews, support by all reviews named."""
    by_aspect: dict[str, list[Strength]] = {}
    for one in found:
        by_aspect.setdefault(one.aspect, []).append(one)
    merged = [
        Strength(
            aspect,
            max(ones, key=lambda one: len(one.review_ids)).claim,
            tuple(dict.fromkeys(review_id for one in ones for review_id in one.review_ids)),
        )
        for aspect, ones in by_aspect.items()
    ]
    return sorted(merged, key=lambda one: (-len(one.review_ids), ASPECTS.index(one.aspect)))
