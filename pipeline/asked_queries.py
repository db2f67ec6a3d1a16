"""Search queries as the loop takes them, and what their rows were computed from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from importlib.metadata import version

import polars as pl

from pipeline.digest import digest
from pipeline.expanded import EXPANDED
from pipeline.order import Standing
from pipeline.queries import Queries
from pipeline.records import Restaurant, Review
from pipeline.restaurants import Tokenised
from pipeline.runtime import Runtime
from pipeline.schedule import Schedule
from pipeline.tasks.query_expansion import QueryExpansionTask
from pipeline.tokens import Tokens

TASK = QueryExpansionTask.name
BYTES_PER_TOKEN = 3
"""Of a query, about; the prompts around it are counted exactly."""
BATCH = 256
"""Queries tokenised at once."""


def settings(runtime: Runtime, readable: bool) -> str:
    """Digest of what a row depends on beside its query: the boundary of sentiment is nothing to it, only whether the language is read."""
    form = {name: str(dtype) for name, dtype in EXPANDED.items()}
    return digest([version("review-digest"), form, runtime.identity, QueryExpansionTask.wording, readable])


def fingerprints(queries: Queries, settings: Mapping[str, str]) -> dict[str, str]:
    """A digest of 128 bits by query: its text, its language, the settings for that."""
    return {
        name: hashlib.blake2b("\0".join((settings[language], language, text)).encode(), digest_size=16).hexdigest()
        for name, text, language in queries.rows.select("query_id", "text", "language").iter_rows()
    }


def priced(queries: Queries, task: QueryExpansionTask) -> pl.DataFrame:
    """The queries' rows and about how many tokens each will cost, `estimate`."""
    return queries.rows.with_columns(estimate=task.overhead + pl.col("text").str.len_bytes() // BYTES_PER_TOKEN)


def in_turn(rows: pl.DataFrame, schedule: Schedule) -> pl.DataFrame:
    """Rows of `priced` in the order in which they are opened."""
    tokens = rows.select("query_id", "arrival", "estimate").iter_rows()
    standings = [Standing(name, arrival, size, schedule.predictor.expected(size, 1, [TASK], 1)) for name, arrival, size in tokens]
    places = {one.restaurant_id: place for place, one in enumerate(standings)}
    return rows[[places[one.restaurant_id] for one in schedule.in_turn(standings)]]


def single(row: Mapping[str, str | int]) -> Restaurant:
    """To the loop a query is a restaurant of one review: a name, a text, a language, what it will cost."""
    review = Review("", str(row["text"]), str(row["language"]))
    tokens = int(row["estimate"])
    return Restaurant(str(row["query_id"]), (review,), arrival=int(row["arrival"]), estimate=tokens, prompt_tokens=tokens)


def tokenised(rows: pl.DataFrame, tokens: Tokens) -> Iterator[Tokenised]:
    """Queries with their texts encoded as reviews are, in the order given, a batch at a time."""
    for some in rows.iter_slices(BATCH):
        for row, one in zip(some.iter_rows(named=True), tokens.encode(some["text"].to_list()), strict=True):
            yield Tokenised(single(row), (one.ids,), (range(1),), {}, budget=0)
