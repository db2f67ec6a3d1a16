"""Which reviews say what a sentence says, by the words they share. A model's own citations are no evidence: measured on 12 restaurants, the
review numbers that the embedded model names fit its claims no better than numbers drawn at random (.73 and .82)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

SUPPORTED = 0.6
"""Share of a sentence's content words that one review must hold to support it, beside every number of it."""
SAME = 0.6
"""Jaccard similarity of content words above which two sentences say the same."""

_STOP = frozenset(
    """the and was were are for with this that they have has had but not very its our you your from their there here all one can will would
    just been also some what which who when than then them too get got really even only out about more most any""".split()  # noqa: SIM905
)
_WORD = re.compile(r"[^\W\d_]+")
_ASCII_WORD = re.compile(r"[a-z]{3,}")
_SENTENCE = re.compile(r"[^.!?。…\n]+[.!?。…]*")
_HANGUL = re.compile(r"[가-힣]")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_ASCII_DENIALS = ("no", "n't", "never", "hardly", "without", "lack")  # strings of which every denial in ASCII holds one
_NEGATION = re.compile(r"\b(?:not?|never|nothing|hardly|without|lacks?|cannot)\b|n['’]t\b|\b(?:안|못)\b|않|없|아니")
RULES = f"{SUPPORTED} {SAME} {_NEGATION.pattern} with its numbers, denied where it denies"
"""Of what supports a sentence, for the fingerprint of a wording: bring it up to date with them."""
_REMEMBERED, _SHORT = 1 << 14, 500
"""Sentences whose content is kept, and letters of such a sentence at most: those of the few restaurants that are open at a time are looked
at again and again."""


class Content(NamedTuple):
    """What a sentence says: its content words, and whether it denies something."""

    words: frozenset[str]
    denies: bool


@dataclass(frozen=True, slots=True)
class Spoken:
    """What a review says: its content words, those of its sentences that deny something and those of the others, and its numbers."""

    words: frozenset[str]
    denied: frozenset[str]
    affirmed: frozenset[str]
    numbers: frozenset[str]


def spoken(text: str) -> Spoken:
    """What a review says."""
    said: dict[bool, set[str]] = {True: set(), False: set()}
    for sentence in sentences(text):
        words, denies = content(sentence)
        said[denies] |= words
    return Spoken(frozenset(said[True] | said[False]), frozenset(said[True]), frozenset(said[False]), numbers(text))


def numbers(text: str) -> frozenset[str]:
    """Without what parts thousands and cents."""
    return frozenset(re.sub(r"[.,]", "", number) for number in _NUMBER.findall(text))


def content(sentence: str) -> Content:
    """What a sentence says, looked up where it was read before."""
    return _remembered(sentence) if len(sentence) <= _SHORT else _content(sentence)


def negates(sentence: str) -> bool:
    """Whether a sentence denies something: `was not great`."""
    return content(sentence).denies


def content_words(sentence: str) -> frozenset[str]:
    """Its content words."""
    return content(sentence).words


def _content(sentence: str) -> Content:
    folded = sentence.casefold()
    may_deny = not folded.isascii() or any(cue in folded for cue in _ASCII_DENIALS)
    return Content(words_of(folded), may_deny and _NEGATION.search(folded) is not None)


def words_of(text: str) -> frozenset[str]:
    """Of any text, in small letters: words of three letters and more without the commonest, cut to their first six letters in place of a
    stemmer; of Korean, where endings change, character bigrams."""
    if text.isascii():
        return frozenset([word[:6] for word in _ASCII_WORD.findall(text) if word not in _STOP])
    found: set[str] = set()
    for word in _WORD.findall(text):
        if _HANGUL.search(word):
            found.update(word[i : i + 2] for i in range(max(len(word) - 1, 1)))
        elif len(word) > 2 and word not in _STOP:
            found.add(word[:6])
    return frozenset(found)


_remembered = lru_cache(_REMEMBERED)(_content)


def supporting(sentence: str, reviews: Sequence[Spoken]) -> list[int]:
    """Indices of the reviews that support a sentence: hold its words and its numbers, and some of its words in a sentence that denies as it
    does, or denies nothing as it does. None for a sentence without content."""
    (words, denies), figures = content(sentence), numbers(sentence)
    return [
        i
        for i, review in enumerate(reviews)
        if words
        and len(words & review.words) >= SUPPORTED * len(words)
        and figures <= review.numbers
        and words & (review.denied if denies else review.affirmed)
    ]


def sentences(text: str) -> list[str]:
    """Letter for letter."""
    return [match[0].strip() for match in _SENTENCE.finditer(text)]


def quote(sentence: str, text: str, most: int) -> str:
    """The sentence of `text` that says most of `sentence`, letter for letter, and denies where it denies; of one over `most` letters the
    words around what it says."""
    words, denies = content(sentence)
    everything = [(match.start(), match.end()) for match in _SENTENCE.finditer(text)] or [(0, len(text))]
    spans = [span for span in everything if negates(text[slice(*span)]) == denies] or everything
    start, end = max(spans, key=lambda span: (len(words & content_words(text[span[0] : span[1]])), span[0] - span[1], -span[0]))
    if end - start > most:
        near = [match.start() for match in _WORD.finditer(text, start, end) if words & content_words(match[0])]
        start = min(max(start, min(near, default=start) - most // 4), end - most)
        end = start + most
        while start > 0 and text[start - 1].isalnum() and text[start].isalnum():
            start += 1
        while end < len(text) and text[end - 1].isalnum() and text[end].isalnum():
            end -= 1
    return text[start:end].strip()


def repetitive(sentence: str) -> bool:
    """Whether greedy decoding ran in a circle: fewer than half of its words and numbers are different ones."""
    words = re.findall(r"\w+", sentence.casefold())
    return len(words) >= 6 and 2 * len(set(words)) < len(words)


def same(one: str, other: str) -> bool:
    """Whether two sentences say the same, and neither denies what the other says."""
    return alike(content(one), content(other))


def alike(one: Content, other: Content) -> bool:
    """The same of what they say."""
    if one.denies != other.denies:
        return False
    both = len(one.words & other.words)
    return both >= SAME * (len(one.words) + len(other.words) - both)


def distinct(sentences: Iterable[str]) -> list[str]:
    """Sentences without those that say the same as an earlier one: about half repeat with a small model."""
    kept: list[str] = []
    for sentence in sentences:
        if sentence and not any(same(sentence, earlier) for earlier in kept):
            kept.append(sentence)
    return kept


def representative(sentences: Sequence[str], most: int) -> list[int]:
    """Indices of the sentences that share most words with the others, best first, none that repeats another."""
    said = [content(sentence) for sentence in sentences]
    frequency = Counter(chain.from_iterable(one.words for one in said))
    # Divided as if three words longer than it is, so that a single common word is not the best sentence there is.
    scores = [(sum([frequency[word] for word in one.words]) - len(one.words)) / (len(one.words) + 3) for one in said]
    chosen: list[int] = []
    for i in sorted(range(len(sentences)), key=lambda i: (-scores[i], i)):
        if len(chosen) < most and not any(alike(said[i], said[j]) for j in chosen):
            chosen.append(i)
    return chosen
