"""Restaurants as a page shows them: a row of the table, and what it opens to, with the reviews behind every sentence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import polars as pl

from pipeline.analysis import Committed
from pipeline.records import Praise
from pipeline.report.cited import reviews_of
from pipeline.report.notable import REASONS, Chosen
from pipeline.report.opened import rows_of
from pipeline.report.passages import Passage, passage
from pipeline.report.praised import praise_of
from pipeline.tasks.figures import Figure, comparable, figures_of

MOST_CITED = 3
"""Reviews shown behind one sentence or claim, those that say most of it; how many there are is said."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Review:
    """One that is cited, by its `number` within the restaurant. `text`: pieces, with whether each is quoted; None where it is not known."""

    number: int
    review_id: str
    text: Passage | None
    rating: float | None
    created_at: datetime | None
    sentiment: str | None
    score: float | None
    flags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Said:
    """A sentence, or a claim with its `aspect` and `quote`; numbers of the reviews that are shown behind it, and how many there are."""

    text: str
    cites: Sequence[int]
    support: int
    aspect: str | None = None
    quote: str | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """`number`: of its entry on the page, None where it is not shown."""

    name: str
    number: int | None


@dataclass(frozen=True, slots=True)
class Entry:
    """`row`: of `restaurants.parquet`. `problems`: why somebody should look at it; `reasons`: why it is on the page."""

    number: int
    row: Row
    problems: Sequence[str]
    reasons: Sequence[str]
    sentences: Sequence[Said]
    strengths: Sequence[Said]
    reviews: Sequence[Review]
    figures: Sequence[Figure]
    peers: Sequence[Peer]

    @property
    def name(self) -> str:
        return str(self.row["restaurant_name"] or self.row["restaurant_id"])


def entries(run: Committed, chosen: Chosen) -> tuple[list[Entry], str | None]:
    """The chosen restaurants, those with most reviews first; and why the texts of their reviews are not shown, None where they are."""
    problems = [pl.when(one.holds).then(pl.lit(one.said)) for one in REASONS if one.problem]
    shown = rows_of(run, "restaurants").filter(pl.col("restaurant_id").is_in(list(chosen.reasons)))
    table = shown.with_columns(problems=pl.concat_list(problems).list.drop_nulls()).collect(engine="streaming")
    rows = table.sort("review_count", "restaurant_id", descending=[True, False]).rows(named=True)
    numbers = {row["restaurant_id"]: number for number, row in enumerate(rows, start=1)}
    names = _names(run, {peer for row in rows for peer in row["peers"] or ()})
    tables = praise_of(run, numbers.keys() | names.keys())
    reviews, reason = reviews_of(run, _cited(rows))
    by_restaurant = {str(name): some for (name,), some in reviews.partition_by("restaurant_id", as_dict=True).items()}
    made = []
    for row in rows:
        peers = [Peer(names.get(peer, peer), numbers.get(peer)) for peer in row["peers"] or ()]
        reasons = [said for said in chosen.reasons[row["restaurant_id"]] if said not in row["problems"]]
        about = by_restaurant.get(row["restaurant_id"])
        made.append(_entry(numbers[row["restaurant_id"]], row, reasons, peers, _figures(row, tables), about))
    return made, reason


def _names(run: Committed, ids: Iterable[str]) -> dict[str, str]:
    wanted = rows_of(run, "restaurants").filter(pl.col("restaurant_id").is_in(list(ids)))
    named = wanted.select("restaurant_id", pl.coalesce("restaurant_name", "restaurant_id"))
    return dict(named.collect(engine="streaming").iter_rows())


def _figures(row: Row, tables: Mapping[str, Praise]) -> list[Figure]:
    """Shares of reviews that praise an aspect, here and at peers, as the comparison has them."""
    own = tables.get(row["restaurant_id"])
    if own is None or row["strengths"] is None:
        return []
    return figures_of(own, comparable(own, (tables.get(peer) for peer in row["peers"] or ())))


def _cited(rows: Iterable[Row]) -> pl.DataFrame:
    """Restaurant and review of each that is shown behind a sentence, once."""
    pairs = [
        (row["restaurant_id"], name)
        for row in rows
        for said in (*(row["summary_sentences"] or ()), *(row["strengths"] or ()))
        for name in said["review_ids"][:MOST_CITED]
    ]
    return pl.DataFrame(pairs, schema={"restaurant_id": pl.String(), "review_id": pl.String()}, orient="row").unique(maintain_order=True)


def _entry(
    number: int, row: Row, reasons: Sequence[str], peers: Sequence[Peer], figures: Sequence[Figure], about: pl.DataFrame | None
) -> Entry:
    sentences, strengths = row["summary_sentences"] or (), row["strengths"] or ()
    order: dict[str, int] = {}
    quotes: dict[str, list[str]] = {}
    for said in (*sentences, *strengths):
        for name in said["review_ids"][:MOST_CITED]:
            order.setdefault(name, len(order) + 1)
            quotes.setdefault(name, []).extend([said["quote"]] if "quote" in said else [])

    def cites(said: Row) -> list[int]:
        return sorted(order[name] for name in said["review_ids"][:MOST_CITED])

    known = {one["review_id"]: one for one in about.rows(named=True)} if about is not None else {}
    return Entry(
        number,
        row,
        row["problems"],
        reasons,
        [Said(one["text"], cites(one), len(one["review_ids"])) for one in sentences],
        [Said(one["claim"], cites(one), one["support"], one["aspect"], one["quote"]) for one in strengths],
        [_review(place, name, known.get(name, {}), quotes[name]) for name, place in order.items()],
        figures,
        peers,
    )


def _review(number: int, name: str, row: Row, quotes: Sequence[str]) -> Review:
    text = row.get("text")
    return Review(
        number,
        name,
        None if text is None else passage(text, quotes),
        row.get("rating"),
        row.get("created_at"),
        row.get("sentiment"),
        row.get("score"),
        row.get("flags") or (),
    )
