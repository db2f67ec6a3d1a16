"""The dump's own rated reviews as labelled ones: what sentiment can be calibrated on in place of the written anchors."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable

import polars as pl

from pipeline.tasks.calibration import Anchor
from pipeline.tasks.prompts import LANGUAGE_NAMES

MOST_RATED = 200
"""Of each label and language. 400 rated reviews gained nothing over 80 anchors, so that more would gain nothing is safe to assume."""
LEAST_RATED = 40
"""Of each label and language, below which there is no fit on ratings."""
LONGEST = 1_000
"""Characters. A longer review costs more than it tells."""


def positive(rating: str = "rating") -> pl.Expr:
    """What a column of ratings says of its review: more than 3 stars is a satisfied guest, less is not, 3 or none says neither (null)."""
    stars = pl.col(rating).fill_nan(None)
    return pl.when(stars != 3).then(stars > 3)


def rated(parts: Iterable[pl.DataFrame], languages: Collection[str]) -> list[Anchor]:
    """Labelled reviews out of a dump's `parts` (columns text, language, rating), at most MOST_RATED of each label and language.

    Those with the lowest hash of their text: the same whatever the order of rows, and nearly the same when reviews are added. A text counts
    once. None of a language that has fewer than LEAST_RATED of one label.
    """
    if not languages:
        return []
    lowest: dict[tuple[str, int], list[str]] = {(language, label): [] for language in sorted(languages) for label in (0, 1)}
    for part in parts:
        usable = part.select("text", "language", label=positive().cast(pl.Int64)).filter(pl.col("text").str.len_chars() <= LONGEST)
        for (language, label), texts in lowest.items():
            some = usable.filter(language=language, label=label)["text"].unique()
            lowest[language, label] = _lowest({*texts, *some})
    found: list[Anchor] = []
    for language in sorted(languages):
        sides = [lowest[language, label] for label in (0, 1)]
        if min(map(len, sides)) >= LEAST_RATED:
            found += [Anchor(text, label, language) for label, side in enumerate(sides) for text in side]
    return sorted(found, key=lambda one: _place(one.text))  # labels mixed


def too_few(languages: Collection[str]) -> str:
    """The reason where `rated` has none."""
    names = " and ".join(LANGUAGE_NAMES[language] for language in sorted(languages))
    return f"fewer than {LEAST_RATED} reviews in {names} are rated above 3 stars, or fewer than that below"


def _lowest(texts: Iterable[str]) -> list[str]:
    return sorted(texts, key=_place)[:MOST_RATED]


def _place(text: str) -> tuple[bytes, str]:
    return hashlib.blake2b(text.encode(), digest_size=8).digest(), text
