"""Which restaurants belong to which shard: the same on every machine that reads the same dump, so that nobody has to ask another."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from pipeline.answering import tasks_for
from pipeline.dealing import deal
from pipeline.dump import Dump
from pipeline.forecast import Predictor
from pipeline.groups import sample_rates, with_new
from pipeline.job import Job
from pipeline.reads import Reads, together
from pipeline.restaurants import MARKS
from pipeline.runtime import Runtime
from pipeline.tasks.calibration import Fit

_SUMS: dict[str, pl.DataType] = {"reviews": pl.Int64(), "new": pl.Int64(), "bytes": pl.Int64()}


def costs(dump: Dump, names: Collection[str], job: Job, runtime: Runtime, fits: Mapping[str, Fit]) -> dict[str, int]:
    """Milliseconds by restaurant, 1 at the least, also of those `names` that have no review. Only their proportions matter.

    As `groups.group` estimates and `Predictor.expected` predicts, but by documented rates, with a prefix cache that wastes nothing, and
    from counts and bytes alone: what was measured, how large the cache's blocks are and in which parts a sum of fractions is taken differ
    from machine to machine, and so would the shares.
    """
    found = dict.fromkeys(names, 1)
    if not dump.height:
        return found
    tasks = tasks_for(job.tasks, runtime.tokens, fits)
    reads, rates = together(task.reads for task in tasks), sample_rates(dump, runtime.tokens)
    prefill: dict[str, int] = {}
    new: dict[str, int] = {}
    for name, language, reviews, asked, size in _sums(dump).iter_rows():
        read = reads.get(language, Reads())
        prefill[name] = prefill.get(name, 0) + _prefill(read, reviews, asked, size * rates[language], job.max_reviews)
        new[name] = new.get(name, 0) + asked
    predictor = Predictor()
    for name, tokens in prefill.items():
        found[name] = max(round(1000 * predictor.expected(tokens, new[name], job.tasks, job.chunk_tokens)), 1)
    return found


def shares(costs: Mapping[str, int], count: int) -> tuple[list[list[str]], str]:
    """The restaurants of each shard, and a digest of all of that."""
    dealt = deal(costs, count)
    return dealt, digest_of("\n".join(names) for names in dealt)


def digest_of(parts: Iterable[str]) -> str:
    """128 bits over texts that are too many to be held together."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        text = part.encode()
        found.update(len(text).to_bytes(8))
        found.update(text)
    return found.hexdigest()


def _sums(dump: Dump) -> pl.DataFrame:
    """Whole numbers by restaurant and language: `reviews`, and of those that nobody has asked about before how many and their bytes."""
    size, new = pl.col("text").str.len_bytes().cast(pl.Int64), pl.col("new")
    found = [pl.DataFrame(schema={"restaurant_id": pl.String(), "language": pl.String(), **_SUMS})]
    for number, part in enumerate(dump):
        answered = None if dump.answered is None else dump.answered(dump.ranges.of(number))
        sums = with_new(part, answered).group_by("restaurant_id", "language").agg(reviews=pl.len(), new=new.sum(), bytes=(size * new).sum())
        found.append(sums.cast(pl.Schema(_SUMS)))
    return pl.concat(found).sort("restaurant_id", "language")


def _prefill(read: Reads, reviews: int, new: int, tokens: float, max_reviews: int | None) -> int:
    """Prompt tokens that one restaurant's reviews in one language will compute; `tokens`: of its new ones."""
    if not new or read == Reads():
        return 0
    share = 1.0 if max_reviews is None else min(max_reviews / reviews, 1.0)
    alone = 0.0 if read.alone is None else (tokens + new * (read.alone - read.common)) * (share if read.sampled else 1.0)
    chunked = (tokens + new * MARKS) * share * min(read.chunks, 1)
    return round(alone + chunked) + read.tails
