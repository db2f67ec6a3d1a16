"""Claims: what the model says that guests praise, held against the positive reviews until only what they say is left."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import TaskFailed
from pipeline.records import Review
from pipeline.tasks import overlap
from pipeline.tasks.overlap import SUPPORTED, alike, content, content_words, negates, repetitive, representative, same, sentences, words_of

LEAST_WORDS = 2
"""Content words of a claim: one alone (`The service`) says nothing that is worth a quote."""
MOST_SAID = 80
"""Letters of a review's sentence that stands as a claim."""
RULES = f"{overlap.RULES} {LEAST_WORDS} {MOST_SAID} by sentence, trimmed"
"""Of what is kept, for the fingerprint of the wording."""
_LAST_WORD = re.compile(r"[^\W_]+(?=[\W_]*$)")


@dataclass(frozen=True, slots=True)
class Claim:
    """`places`: of the reviews that say it in a single sentence, which can be quoted then; the one that says most of it first."""

    text: str
    places: tuple[int, ...]


def parse(text: str) -> list[str]:
    """Claims of an answer. Raises TaskFailed where it has another form."""
    try:
        claims = json.loads(text)
    except ValueError:
        claims = None
    if not isinstance(claims, list) or not all(isinstance(claim, str) for claim in claims):
        raise TaskFailed("find: the answer is not in the form asked for")
    return [claim.strip().rstrip(",") for claim in claims]


def verify(texts: Sequence[str], reviews: Mapping[int, Review]) -> list[Claim]:
    """The claims that one of these reviews supports at least, without what no review says at their end; reviews by place. What is denied
    (`was not great`) supports only what denies, too."""
    spoken: dict[bool, list[tuple[int, frozenset[str]]]] = {True: [], False: []}
    for place, review in reviews.items():
        for sentence in sentences(review.text):
            words, denies = content(sentence)
            spoken[denies].append((place, words))
    found = (_verified(text, spoken[negates(text)]) for text in texts if not repetitive(text))
    return [claim for claim in found if claim]


def said(known: Sequence[str], reviews: Mapping[int, Review], most: int) -> list[str]:
    """Sentences that say best what the reviews say, none that says the same as the `known` claims."""
    spoken = [sentence.rstrip(" .!?。…") for review in reviews.values() for sentence in sentences(review.text)]
    new = [one for one in spoken if len(one) <= MOST_SAID and len(content_words(one)) >= LEAST_WORDS]
    claims = [content(claim) for claim in known]
    new = [one for one in new if not any(alike(content(one), claim) for claim in claims)]
    return [new[i] for i in representative(new, most)]


def _verified(text: str, spoken: Sequence[tuple[int, frozenset[str]]]) -> Claim | None:
    shares = _shares(content_words(text), spoken)
    held = frozenset[str]().union(*(words for place, words in spoken if place in shares))
    text = _trimmed(text, held)
    words = content_words(text)
    shares = _shares(words, spoken)
    if len(words) < LEAST_WORDS or not shares:
        return None
    return Claim(text, tuple(sorted(shares, key=lambda place: (-shares[place], place))))


def _shares(words: frozenset[str], spoken: Sequence[tuple[int, frozenset[str]]]) -> dict[int, float]:
    """By place, the share of the words that the review's best sentence holds, where that is support."""
    shares: dict[int, float] = {}
    for place, held in spoken:
        if not words.isdisjoint(held):
            share = len(words & held) / len(words)
            if share >= SUPPORTED and share > shares.get(place, 0.0):
                shares[place] = share
    return shares


def _trimmed(text: str, held: frozenset[str]) -> str:
    """A claim that was cut off at its longest ends in half a word, or in `the`: it ends with the last word that the reviews hold."""
    while (last := _LAST_WORD.search(text)) and held.isdisjoint(words_of(last[0].casefold())):
        text = text[: last.start()]
    return text[: last.end()] if last else ""


def merge(found: Sequence[Claim]) -> list[Claim]:
    """Claims that say the same become one, in the words of the first, said by the reviews of all. Most support first."""
    merged: list[Claim] = []
    for claim in found:
        for i, other in enumerate(merged):
            if same(claim.text, other.text):
                merged[i] = Claim(other.text, tuple(dict.fromkeys((*other.places, *claim.places))))
                break
        else:
            merged.append(claim)
    return sorted(merged, key=lambda one: (-len(one.places), one.text))
