"""Requests and tokens of a large dump from its bytes: no review is tokenised but a sample's.

Rows are counted exactly, equal reviews once; tokens are bytes times the tokens per byte of a review's language. Chunks are cut as they are
in a run, at estimated sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipeline.amounts import Amounts, Longest
from pipeline.around import Around
from pipeline.comparing import Comparing, main_languages
from pipeline.expected import (
    CLAIM_TOKENS,
    PART_TOKENS,
    POSITIVE,
    STRENGTH_ALONE,
    STRENGTH_BESIDE_PEERS,
    TEXT_SHARED,
    TEXT_TOKENS,
    asked_claims,
    expected_merges,
)
from pipeline.groups import Groups, sample_rates
from pipeline.prefix_cache import PrefixCache
from pipeline.replay import MOST_LONGEST
from pipeline.restaurants import MARKS, MOST_REVIEWS, cut
from pipeline.tasks.figures import LEAST_REVIEWS
from pipeline.tokens import Tokens

RATED_REVIEWS = 2048
"""Reviews of a language whose tokens per byte stand for all, spread evenly over the restaurants."""
_SINCE_YEAR_ONE = 62_135_596_800_000_000  # microseconds to 1970, as restaurants.place counts them
_UNDATED = 2**64 - 1


@dataclass
class Estimate:
    """`amounts` by task and stage. `chunks`: of all restaurants. `longest`: the largest chunks, as requests. `truncated`: reviews.
    `read_before`: as in `expected.Following`."""

    amounts: Amounts = field(default_factory=Amounts)
    chunks: int = 0
    longest: list[Longest] = field(default_factory=list)
    truncated: int = 0
    read_before: float = 0.0


def rates(reviews: pl.DataFrame, tokens: Tokens) -> dict[str, float]:
    """Tokens per byte by language."""
    spread = [some.gather_every(max(some.height // RATED_REVIEWS, 1)) for some in reviews.partition_by("language")]
    return sample_rates(pl.concat(spread), tokens, RATED_REVIEWS) if spread else {}


def estimate(
    groups: Groups,
    rates: Mapping[str, float],
    around: Around,
    compared: Comparing,
    budget: int,
    max_reviews: int | None,
    cache: PrefixCache,
) -> Estimate:
    """All of a dump's restaurants. `around`: tokens around reviews, of the tasks asked and the languages read."""
    found = Estimate()
    rate = pl.col("language").replace_strict(rates, default=1.0, return_dtype=pl.Float64)
    reviews = groups.reviews.with_columns(size=(pl.col("text").str.len_bytes() * rate))
    found.truncated = reviews.filter(pl.col("size") > budget - MARKS).height
    reviews = reviews.with_columns(pl.col("size").clip(upper_bound=budget - MARKS), read=pl.col("language").is_in(sorted(around.label)))
    _labels(reviews, around, cache, found)
    chunked = _chunks(groups, reviews, budget, max_reviews)
    found.chunks = sum(len(one.chunks) for one in chunked)
    languages = main_languages(groups.reviews)
    read = [one for one in chunked if languages[one.restaurant_id] in around.label]
    for one in read:
        _texts_of(one, languages[one.restaurant_id], around, budget, cache, found)
    if around.find:
        _praise(reviews, {one.restaurant_id: one for one in read}, around, cache, found)
        _comparisons(read, compared, cache, found)
    found.longest = sorted(found.longest, key=lambda one: -one.prompt_tokens)[:MOST_LONGEST]
    for _, amount in found.amounts:
        if amount.certainty != "expected":
            amount.certainty = "estimated"
            amount.least = amount.most = round(amount.requests)
    return found


@dataclass(frozen=True, slots=True)
class _Chunked:
    """`chunks`: reviews and their tokens in each, with the place of the first; `share` of the restaurant's reviews that they hold; `read`:
    reviews among them in a language that the model reads."""

    restaurant_id: str
    review_count: int
    chunks: list[tuple[bytes, int, float]]
    share: float
    read: int


def _labels(reviews: pl.DataFrame, around: Around, cache: PrefixCache, found: Estimate) -> None:
    if not around.question:
        return
    distinct = reviews.filter("read").unique(["language", "text"]).group_by("language").agg(pl.len(), pl.col("size").sum())
    amount = found.amounts.of("sentiment", "label")
    for language, number, size in distinct.filter(pl.col("language").is_in(sorted(around.question))).iter_rows():
        amount.requests += number
        amount.prompt_tokens += number * around.label[language] + size
        amount.cached_tokens += number * cache.whole(around.question[language])


def _chunks(groups: Groups, reviews: pl.DataFrame, budget: int, max_reviews: int | None) -> list[_Chunked]:
    """Most restaurants are one chunk, which is plain from their sums; the others are cut."""
    sums = reviews.group_by("restaurant_id").agg(size=pl.col("size").sum(), read=pl.col("read").sum())
    rows = (
        groups.table.filter(pl.col("review_count") > 0)
        .join(sums, on="restaurant_id")
        .select("restaurant_id", "offset", "review_count", "size", "read")
    )
    sizes, ids = reviews["size"].to_numpy(), reviews["review_id"]
    since = (reviews["created_at"].dt.epoch("us") + _SINCE_YEAR_ONE).cast(pl.UInt64).fill_null(_UNDATED)
    found = []
    for name, offset, count, size, read in rows.iter_rows():
        if count <= min(MOST_REVIEWS, max_reviews or MOST_REVIEWS) and size + MARKS * count <= budget:
            found.append(_Chunked(name, count, [(b"", count, size)], 1.0, read))
            continue
        kept = min(max_reviews or count, count)
        # The sample of a large restaurant keeps the shape of its years; every so many-th review does, too.
        chosen = np.linspace(offset, offset + count - 1, kept).astype(np.int64)
        times, names, some = since.gather(chosen).to_list(), ids.gather(chosen).to_list(), sizes[chosen]
        places = [time.to_bytes(8) + one.encode() for time, one in zip(times, names, strict=True)]
        total = np.concatenate([[0.0], np.cumsum(some)])
        runs = cut(places, [int(one) + MARKS for one in some.tolist()], budget)
        chunks = [(places[run.start], len(run), float(total[run.stop] - total[run.start])) for run in runs]
        found.append(_Chunked(name, count, chunks, kept / count, round(read * kept / count)))
    return found


def _texts_of(one: _Chunked, language: str, around: Around, budget: int, cache: PrefixCache, found: Estimate) -> None:
    before = around.before[language]
    for _, count, size in one.chunks:
        content = size + around.marks[min(count, MOST_REVIEWS)]
        served = cache.whole(before)
        for task, stage, tail, output in around.over_chunks(language):
            amount = found.amounts.of(task, stage)
            amount.requests += 1
            amount.prompt_tokens += before + content + tail
            amount.cached_tokens += served
            served = cache.whole(before + content)
            longest = Longest(
                task, stage, one.restaurant_id, one.review_count, int(before + content + tail), int(before + content + tail) + output
            )
            if len(found.longest) < MOST_LONGEST * 20 or longest.prompt_tokens > found.longest[-1].prompt_tokens:
                found.longest = sorted([*found.longest, longest], key=lambda one: -one.prompt_tokens)[: MOST_LONGEST * 20]
    if around.part and len(one.chunks) > 1:
        merges = expected_merges([where for where, _, _ in one.chunks], [True] * len(one.chunks), budget)
        tokens = sum(around.merge[language] + PART_TOKENS * parts for parts in merges)
        found.amounts.of("summary", "merge").expect(len(merges), tokens, 0, least=1, most=len(one.chunks) - 1)


def _praise(reviews: pl.DataFrame, read: Mapping[str, _Chunked], around: Around, cache: PrefixCache, found: Estimate) -> None:
    stars = pl.col("rating").fill_nan(None)
    likely = pl.when(stars > 3).then(POSITIVE["above"]).when(stars < 3).then(POSITIVE["below"]).when(stars == 3).then(POSITIVE["three"])
    asked = (
        reviews.filter("read")
        .unique(["language", "text"], maintain_order=True)
        .with_columns(
            likely=likely.otherwise(POSITIVE["unrated"]),
            share=pl.col("restaurant_id").replace_strict(
                {name: one.share for name, one in read.items()}, default=0.0, return_dtype=pl.Float64
            ),
        )
    )
    amount = found.amounts.of("strengths", "praise")
    weight = pl.col("likely") * pl.col("share")
    sums = asked.group_by("language").agg(weight.sum().alias("asked"), (weight * pl.col("size")).sum().alias("size"), pl.col("share").sum())
    for language, number, size, most in sums.iter_rows():
        shared = size + number * max(around.shared[language] - (cache.block - 1) / 2, 0) if cache.block else 0.0
        found.read_before += max(shared - number * cache.whole(around.question[language]), 0.0)
        amount.expect(number, size + number * around.praise[language], shared, most=int(most))
    each = [asked_claims(len(one.chunks)) for one in read.values()]
    claims, most_claims = sum(expected for expected, _ in each), sum(most for _, most in each)
    served = cache.whole(max(around.question.values()))
    for stage, size in (("tone", max(around.label.values())), ("aspect", max(around.praise.values()))):
        asked_tokens = claims * (size + CLAIM_TOKENS)
        found.amounts.of("strengths", stage).expect(claims, asked_tokens, claims * served, most=most_claims)
    found.amounts.of("strengths", "prior").expect(len(around.praise), sum(around.praise.values()), 0, most=len(around.praise))


def _comparisons(read: Sequence[_Chunked], compared: Comparing, cache: PrefixCache, found: Estimate) -> None:
    beside = sum(1 for one in read if compared.peers.get(one.restaurant_id) and one.read >= LEAST_REVIEWS)
    texts = {"compare": float(beside), "strength": STRENGTH_BESIDE_PEERS * beside + STRENGTH_ALONE * (len(read) - beside)}
    for stage, number in texts.items():
        found.amounts.of("strengths", stage).expect(number, number * TEXT_TOKENS[stage], number * cache.whole(TEXT_SHARED), most=len(read))
