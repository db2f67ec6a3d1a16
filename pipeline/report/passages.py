"""Of a long text the passage that matters, with what is quoted from it set apart."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection

MOST_LETTERS = 600
"""Of a review on a page."""
NEAR = 40
"""Letters within which a cut is moved to a space."""
_JOINS = frozenset("\u200d\ufe0e\ufe0f") | frozenset(map(chr, range(0x1F3FB, 0x1F400)))
"""What belongs to the letter before it: the joiner of emoji, forms of presentation, skin tones."""

Passage = list[tuple[str, bool]]
"""Pieces of a text, each with whether it is quoted."""


def passage(text: str, quotes: Collection[str] = (), most: int = MOST_LETTERS) -> Passage:
    """At most about `most` letters, those around the first quote where there is one; what is left out shows as `…`."""
    spans = _spans(text, quotes)
    start, end = 0, len(text)
    if end > most:
        start = min(max(spans[0][0] - most // 3, 0) if spans else 0, end - most)
        end = start + most
        start, end = _cut(text, start), _cut(text, end)
    pieces: Passage = [("… ", False)] if start else []
    for first, last in spans:
        if first < start or last > end:
            continue
        pieces += [(text[start:first], False), (text[first:last], True)]
        start = last
    pieces += [(text[start:end], False), (" …", False)] if end < len(text) else [(text[start:], False)]
    return [piece for piece in pieces if piece[0]]


def _spans(text: str, quotes: Collection[str]) -> list[tuple[int, int]]:
    """Where quotes stand, in order, none within another."""
    found = sorted((at, -len(quote)) for quote in set(quotes) if quote and (at := text.find(quote)) >= 0)
    spans: list[tuple[int, int]] = []
    for at, size in found:
        if not spans or at >= spans[-1][1]:
            spans.append((at, at - size))
    return spans


def _cut(text: str, at: int) -> int:
    """A place close by where nothing is torn apart: after a space, else before a letter that stands for itself."""
    if not 0 < at < len(text):
        return at
    space = text.rfind(" ", max(at - NEAR, 0), at)
    if space >= 0:
        return space + 1
    while at and (text[at] in _JOINS or text[at - 1] == "\u200d" or unicodedata.combining(text[at])):
        at -= 1
    return at
