"""What is asked about: reviews whose truth is known, and restaurants of which a part of the reviews is kept back. Drawn with a seed,
independent of the order of rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

from pipeline.dump import Dump
from pipeline.errors import BadData
from pipeline.evaluation.labels import with_truth
from pipeline.tasks.known import TASKS

LEFT_OUT_PERCENT = 20
LEAST_REVIEWS = 5
"""Of a restaurant; fewer cannot be split."""
RANDOM_REVIEWS = 5
"""Taken as a restaurant's summary one after another, for the baseline."""
MOST_COMPARED = 50
"""Left-out reviews that a restaurant's summary is compared with."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be measured. `sample`: reviews, `restaurants`: how many are summarised. `references`: summaries by restaurant."""

    tasks: Sequence[str] = TASKS
    sample: int = 500
    restaurants: int = 20
    seed: int = 7
    neutral: bool = False
    label_column: str | None = None
    references: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Split:
    """One restaurant. `put_in`: rows that the model sees; the rest are texts that it does not. `others`: as many reviews of other
    restaurants in this one's main language, for comparison. `random`: some of those put in."""

    restaurant_id: str
    put_in: pl.DataFrame
    left_out: tuple[str, ...]
    others: tuple[str, ...]
    random: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Samples:
    """`reviews`: rows of a dump with `truth`, None where sentiment was not asked for. `splits`: none where no text was asked for."""

    reviews: pl.DataFrame | None
    splits: Sequence[Split]

    @property
    def languages(self) -> set[str]:
        frames = [split.put_in for split in self.splits] + ([] if self.reviews is None else [self.reviews])
        return {language for frame in frames for language in frame["language"]}


def draw(dump: Dump, what: Evaluation) -> Samples:
    """Raises BadData where the dump has nothing to measure against."""
    reviews = None
    if "sentiment" in what.tasks:
        reviews = sample_reviews(with_truth(dump, what.label_column), what.sample, what.seed, what.neutral)
    splits: list[Split] = []
    if set(what.tasks) - {"sentiment"}:
        splits = split_restaurants(dump.reviews, what.restaurants, what.seed, among=what.references or None)
    return Samples(reviews, splits)


def sample_reviews(known: pl.DataFrame, size: int, seed: int, neutral: bool = False) -> pl.DataFrame:
    """`size` reviews whose truth is positive or negative and, with `neutral`, as many neutral ones as they have beside them in the dump."""
    known = known.sort("restaurant_id", "review_id")
    is_neutral = pl.col("truth") == "neutral"
    two, rest = known.filter(~is_neutral), known.filter(is_neutral)
    if two.is_empty():
        raise BadData(
            "no review has a rating other than 3 or a label; measuring sentiment needs ratings (--column rating=YOUR_COLUMN) or labels "
            "(--label-column YOUR_COLUMN); leave it out with --tasks summary,strengths"
        )
    drawn = two.sample(min(size, two.height), seed=seed)
    share = round(rest.height * drawn.height / two.height) if neutral else 0
    return pl.concat([drawn, rest.sample(share, seed=seed)])


def left_out(restaurant_id: str, text: str) -> bool:
    """Whether a review is kept from the model: by content alone, so that new reviews move no other and equal ones stay together."""
    digest = hashlib.blake2b(f"{restaurant_id}\x1f{text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 100 < LEFT_OUT_PERCENT


def split_restaurants(reviews: pl.DataFrame, most: int, seed: int, among: Collection[str] | None = None) -> list[Split]:
    """At most `most` restaurants, of those `among` where it says so, that have reviews on both sides. Raises BadData without any."""
    reviews = reviews.sort("restaurant_id", "review_id")
    sizes = reviews.group_by("restaurant_id").len().filter(pl.col("len") >= LEAST_REVIEWS)
    names = sizes["restaurant_id"].sort()
    if among is not None:
        names = names.filter(names.is_in(sorted(among)))
    splits: list[Split] = []
    for split in _splits(reviews, names.sample(fraction=1, shuffle=True, seed=seed).to_list(), seed):
        splits.append(split)
        if len(splits) == most:
            break
    if not splits:
        whom = "with a reference summary " if among is not None else ""
        raise BadData(f"no restaurant {whom}has {LEAST_REVIEWS} reviews to put in and leave out; name a larger dump or --tasks sentiment")
    return splits


def _splits(reviews: pl.DataFrame, names: Sequence[str], seed: int) -> Iterator[Split]:
    for number, name in enumerate(names):
        own = reviews.filter(pl.col("restaurant_id") == name)
        held = pl.Series([left_out(name, text) for text in own["text"]], dtype=pl.Boolean)
        put_in, kept_back = own.filter(~held), own.filter(held)
        if put_in.is_empty() or kept_back.is_empty():
            continue
        counts = Counter(put_in["language"])
        main = min(counts, key=lambda language: (-counts[language], language))
        others = reviews.filter(pl.col("restaurant_id") != name, pl.col("language") == main)
        yield Split(
            name,
            put_in,
            tuple(kept_back["text"].head(MOST_COMPARED)),
            tuple(others["text"].sample(min(put_in.height, others.height), seed=seed + number)),
            tuple(put_in["text"].sample(min(RANDOM_REVIEWS, put_in.height), seed=seed + number)),
        )
