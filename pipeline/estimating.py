"""Requests and tokens of a large dump from its bytes: no review is tokenised but a sample's.

Rows are counted exactly, equal reviews once; tokens are bytes times the tokens per byte of a review's language. Chunks are cut as they are
in a run, at estimated sizes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import polars as pl

from pipeline.amounts import Amounts, Longest
from pipeline.around import Around
from pipeline.comparing import Comparing
from pipeline.dump import Dump
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


def rates(dump: Dump, tokens: Tokens) -> dict[str, float]:
    """Tokens per byte by language."""
    numbers = dump.counts.group_by("language").agg(pl.col("reviews").sum()).iter_rows()
    every = {language: max(number // RATED_REVIEWS, 1) for language, number in numbers}
    spread = (some.gather_every(every[some["language"][0]]) for part in dump for some in part.partition_by("language"))
    return sample_rates(spread, tokens, RATED_REVIEWS)


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
    found, languages = Estimate(), groups.dump.main_languages
    rate = pl.col("language").replace_strict(rates, default=1.0, return_dtype=pl.Float64)
    if around.question:
        found.amounts.of("sentiment", "label")  # the first that a run asks, and a plan tells
    asked: list[pl.DataFrame] = []
    claims, beside, read = (0.0, 0.0), 0, 0
    for part in groups.dump:
        reviews = part.with_columns(size=pl.col("text").str.len_bytes() * rate)
        found.truncated += reviews.filter(pl.col("size") > budget - MARKS).height
        reviews = reviews.with_columns(pl.col("size").clip(upper_bound=budget - MARKS), read=pl.col("language").is_in(sorted(around.label)))
        shares = {}
        for one in _chunks(reviews, budget, max_reviews):
            found.chunks += len(one.chunks)
            if languages[one.restaurant_id] not in around.label:
                continue
            _texts_of(one, languages[one.restaurant_id], around, budget, cache, found)
            shares[one.restaurant_id] = one.share
            expected, most = asked_claims(len(one.chunks))
            claims = claims[0] + expected, claims[1] + most
            read += 1
            beside += bool(compared.peers.get(one.restaurant_id)) and one.read >= LEAST_REVIEWS
        asked.append(_asked(reviews, shares))
    distinct = pl.concat(asked).unique(["language", "text"], keep="first", maintain_order=True)
    _labels(distinct, around, cache, found)
    if around.asks("strengths"):
        _praise(distinct, around, cache, found)
        _claims(claims, around, cache, found)
        _comparisons(read, beside, cache, found)
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


def _asked(reviews: pl.DataFrame, shares: Mapping[str, float]) -> pl.DataFrame:
    """What may be asked about single reviews, a row each, small enough for all of them. `text`: its hash."""
    stars = pl.col("rating").fill_nan(None)
    likely = pl.when(stars > 3).then(POSITIVE["above"]).when(stars < 3).then(POSITIVE["below"]).when(stars == 3).then(POSITIVE["three"])
    share = pl.col("restaurant_id").replace_strict(shares, default=0.0, return_dtype=pl.Float64) if shares else pl.lit(0.0)
    return reviews.filter("read").select(
        "language", "size", text=pl.col("text").hash(), likely=likely.otherwise(POSITIVE["unrated"]), share=share
    )


def _labels(distinct: pl.DataFrame, around: Around, cache: PrefixCache, found: Estimate) -> None:
    if not around.question:
        return
    sums = distinct.group_by("language").agg(pl.len(), pl.col("size").sum())
    amount = found.amounts.of("sentiment", "label")
    for language, number, size in sums.filter(pl.col("language").is_in(sorted(around.question))).iter_rows():
        amount.requests += number
        amount.prompt_tokens += number * around.label[language] + size
        amount.cached_tokens += number * cache.whole(around.question[language])


def _chunks(reviews: pl.DataFrame, budget: int, max_reviews: int | None) -> Iterator[_Chunked]:
    """Most restaurants are one chunk, which is plain from their sums; the others are cut. `reviews`: all of their restaurants, sorted."""
    sums = reviews.group_by("restaurant_id", maintain_order=True).agg(pl.len(), pl.col("size").sum(), pl.col("read").sum())
    rows = sums.select("restaurant_id", pl.col("len").cum_sum() - pl.col("len"), review_count="len", size="size", read="read")
    sizes, ids = reviews["size"].to_numpy(), reviews["review_id"]
    since = (reviews["created_at"].dt.epoch("us") + _SINCE_YEAR_ONE).cast(pl.UInt64).fill_null(_UNDATED)
    for name, offset, count, size, read in rows.iter_rows():
        if count <= min(MOST_REVIEWS, max_reviews or MOST_REVIEWS) and size + MARKS * count <= budget:
            yield _Chunked(name, count, [(b"", count, size)], 1.0, read)
            continue
        kept = min(max_reviews or count, count)
        # The sample of a large restaurant keeps the shape of its years; every so many-th review does, too.
        chosen = np.linspace(offset, offset + count - 1, kept).astype(np.int64)
        times, names, some = since.gather(chosen).to_list(), ids.gather(chosen).to_list(), sizes[chosen]
        places = [time.to_bytes(8) + one.encode() for time, one in zip(times, names, strict=True)]
        total = np.concatenate([[0.0], np.cumsum(some)])
        runs = cut(places, [int(one) + MARKS for one in some.tolist()], budget)
        chunks = [(places[run.start], len(run), float(total[run.stop] - total[run.start])) for run in runs]
        yield _Chunked(name, count, chunks, kept / count, round(read * kept / count))


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
    if around.asks("summary") and len(one.chunks) > 1:
        merges = expected_merges([where for where, _, _ in one.chunks], [True] * len(one.chunks), budget)
        tokens = sum(around.merge[language] + PART_TOKENS * parts for parts in merges)
        found.amounts.of("summary", "merge").expect(len(merges), tokens, 0, least=1, most=len(one.chunks) - 1)


def _praise(distinct: pl.DataFrame, around: Around, cache: PrefixCache, found: Estimate) -> None:
    amount = found.amounts.of("strengths", "praise")
    weight = pl.col("likely") * pl.col("share")
    sums = distinct.group_by("language").agg(
        weight.sum().alias("asked"), (weight * pl.col("size")).sum().alias("size"), pl.col("share").sum()
    )
    for language, number, size, most in sums.iter_rows():
        shared = size + number * max(around.shared[language] - (cache.block - 1) / 2, 0) if cache.block else 0.0
        found.read_before += max(shared - number * cache.whole(around.question[language]), 0.0)
        amount.expect(number, size + number * around.praise[language], shared, most=int(most))


def _claims(claims: tuple[float, float], around: Around, cache: PrefixCache, found: Estimate) -> None:
    """`claims`: expected, and at most."""
    served = cache.whole(max(around.question.values()))
    for stage, size in (("tone", max(around.label.values())), ("aspect", max(around.praise.values()))):
        asked_tokens = claims[0] * (size + CLAIM_TOKENS)
        found.amounts.of("strengths", stage).expect(claims[0], asked_tokens, claims[0] * served, most=int(claims[1]))
    found.amounts.of("strengths", "prior").expect(len(around.praise), sum(around.praise.values()), 0, most=len(around.praise))


def _comparisons(read: int, beside: int, cache: PrefixCache, found: Estimate) -> None:
    """Of restaurants in a language that the model reads, and of those among them that have peers and reviews enough."""
    texts = {"compare": float(beside), "strength": STRENGTH_BESIDE_PEERS * beside + STRENGTH_ALONE * (read - beside)}
    for stage, number in texts.items():
        found.amounts.of("strengths", stage).expect(number, number * TEXT_TOKENS[stage], number * cache.whole(TEXT_SHARED), most=read)
