"""Summary: a partial summary per chunk, merged in a tree until one is left. A restaurant with one chunk needs one request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence

from pipeline.errors import TaskFailed
from pipeline.records import Answer, Plan, Request, Sampling, Summary, TaskName
from pipeline.restaurants import Tokenised, cut
from pipeline.tasks.prompts import ChunkPrompt, make_request, usable_text
from pipeline.tokens import Tokens, concatenate

INSTRUCTION = "Summarize the reviews in 3 short bullet points. Only facts."
MERGE_SYSTEM = "You summarize restaurant reviews. You only state facts that are given."
MERGE = "These are summaries of reviews of one restaurant. Summarize them in 3 short bullet points. Only facts.\n\n"
START = "- "
# Bounded, so that an answer ends by itself inside `max_tokens` and never in the middle of a sentence. A grammar rather than a regular
# expression: xgrammar compiles it in 0.2 s, the same form as a regular expression in 15 s.
FORM = r"""
root ::= sentence ("\n- " sentence){0,2}
sentence ::= [^\n]{8,140}
"""
SAMPLING = Sampling(max_tokens=224, grammar=FORM)
_LINE_MARKS = 4  # tokens that begin and end a line of a merge, at most


class SummaryTask:
    """Summarises a restaurant's chunks."""

    name: TaskName = "summary"
    wording = f"{INSTRUCTION} {MERGE_SYSTEM} {MERGE} {START} {SAMPLING}"

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._chunks = ChunkPrompt(tokens)
        self._tail = self._chunks.tail(INSTRUCTION, START)
        before, after = tokens.chat(MERGE_SYSTEM, START)
        self._merge_before, self._merge_after = tokens.part(before + MERGE), tokens.part(after)
        wording = max(self._chunks.overhead(self._tail), len(self._merge_before) + len(self._merge_after))
        self.overhead = wording + SAMPLING.max_tokens

    def plan(self, restaurant: Tokenised) -> Plan:
        """Returns a Summary. Raises TaskFailed where a part failed or was cut off."""
        reviews = restaurant.restaurant.reviews
        requests = [self._part(restaurant, number, chunk) for number, chunk in enumerate(restaurant.chunks)]
        answers: Mapping[str, Answer] = yield requests
        # A part is known by its first review, so that merges, like chunks, shift little when reviews are added.
        parts = [
            (reviews[chunk[0]].review_id, usable_text(answers[request.key], "part"))
            for chunk, request in zip(restaurant.chunks, requests, strict=True)
        ]
        while len(parts) > 1:
            groups = _fitting(parts, self._sizes([text for _, text in parts]), restaurant.budget)
            merges = {group[0][0]: self._merge(restaurant, [text for _, text in group]) for group in groups if len(group) > 1}
            answers = yield list(merges.values())
            parts = [
                (name, usable_text(answers[merges[name].key], "merge") if name in merges else text)
                for name, text in (group[0] for group in groups)
            ]
        return parse(parts[0][1])

    def _part(self, restaurant: Tokenised, number: int, chunk: range) -> Request:
        shared = self._chunks.shared(restaurant, chunk)
        prompt = concatenate(shared, self._tail)
        return make_request("summary", "part", restaurant.restaurant.restaurant_id, prompt, SAMPLING, number, len(shared))

    def _sizes(self, texts: Sequence[str]) -> list[int]:
        return [
            len(one.ids) + _LINE_MARKS * len(parse(text).sentences) for text, one in zip(texts, self._tokens.encode(texts), strict=True)
        ]

    def _merge(self, restaurant: Tokenised, texts: Sequence[str]) -> Request:
        """Partial summaries are the model's words about hostile text: encoded as reviews are."""
        sentences = [sentence for text in texts for sentence in parse(text).sentences]
        lines = [[self._tokens.part("- "), one.ids, self._tokens.part("\n")] for one in self._tokens.encode(sentences)]
        prompt = concatenate(self._merge_before, *(piece for line in lines for piece in line), self._merge_after)
        return make_request("summary", "merge", restaurant.restaurant.restaurant_id, prompt, SAMPLING, len(restaurant.chunks))


def parse(text: str) -> Summary:
    """The answer's lines as sentences, repeated ones (about half repeat with a small model) left out."""
    sentences = tuple(_distinct(line.lstrip("-• ").strip() for line in text.splitlines()))
    if not sentences:
        raise TaskFailed("the answer holds no sentence")
    return Summary(" ".join(_ended(sentence) for sentence in sentences), sentences)


def _fitting(parts: Sequence[tuple[str, str]], sizes: Sequence[int], budget: int) -> list[Sequence[tuple[str, str]]]:
    """Consecutive parts that fit one merge, at least two in one of them, so that the tree gets smaller."""
    groups = [parts[run.start : run.stop] for run in cut([name for name, _ in parts], sizes, budget)]
    if len(groups) < len(parts):
        return groups
    return [parts[i : i + 2] for i in range(0, len(parts), 2)]


def _distinct(sentences: Iterable[str]) -> Iterable[str]:
    seen = set()
    for sentence in sentences:
        key = hashlib.blake2b(re.sub(r"\W+", "", sentence.casefold()).encode(), digest_size=8).digest()
        if sentence and key not in seen:
            seen.add(key)
            yield sentence


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "…", "。")) else f"{sentence}."
