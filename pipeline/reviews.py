"""The input contract: scan the dump's files, map and check columns, split off rejects. Selected rows = reviews + rejects, always."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from pipeline.columns import blank
from pipeline.contract import REVIEWS, Contract
from pipeline.dump import Dump
from pipeline.errors import BadData
from pipeline.reading import MOST_INPUT_BYTES, Files, opened, reject_repeated, split, too_long
from pipeline.spread import WHOLE, Ranges, Spread, ranges_for

CONTENT = ("created_at", "text", "rating", "restaurant_name", "category", "area")
"""What decides which of several reviews with one id stays."""
_ROW = {"arrival": pl.UInt32(), "source_file": pl.String(), "source_row": pl.Int64(), **REVIEWS.columns, "undecodable": pl.Boolean()}
_REVIEW = {**{name: dtype for name, dtype in _ROW.items() if name != "undecodable"}, "language": pl.String()}
HANGUL, LATIN = r"[가-힣ㄱ-ㅎㅏ-ㅣ]", r"[A-Za-z]"


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a dump a run looks at. `since` is included, `until` is not; rows without a date are outside of any period.

    `limit` takes the first restaurants by id, so that the order of rows in the dump does not matter.
    """

    restaurants: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    limit: int | None = None

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self == Selection()


def read(
    inputs: Sequence[str],
    columns: Mapping[str, str] | None = None,
    selection: Selection | None = None,
    max_input_bytes: int = MOST_INPUT_BYTES,
    scratch: Path | None = None,
) -> Dump:
    """Reads files, globs, directories (hive partitions are columns) or object-store URIs as one dump.

    `columns` maps the contract's names to the dump's. `scratch`: folder for the reviews of a large dump and for what a run sets aside; it
    lasts as long as the dump is used. Without it all reviews are in memory. Raises NoInput; BadData for a damaged file, a missing column, a
    wrong type, more bytes than allowed or a restaurant that is not there; TryAgain where a file changed meanwhile or the disk is full.
    """
    selection = selection or Selection()
    with opened(inputs, columns or {}, REVIEWS, max_input_bytes) as files:
        ranges = _ranges(files, scratch)
        rows = _selected(files, selection, Spread("read", _ROW, ranges))
        left = selection.limit
        rejected = Spread("rejects", REVIEWS.reject_schema, ranges)

        def usable() -> Iterator[pl.DataFrame]:
            nonlocal left
            for number in range(len(ranges)):  # in the order of names
                some = reject_repeated(rows.take(number).with_columns(reason=_reason()), ["restaurant_id", "review_id"], CONTENT)
                if left is not None:
                    chosen = some.filter(pl.col("reason").ne_missing("no restaurant_id"))["restaurant_id"].unique().sort().head(left)
                    some, left = some.filter(pl.col("restaurant_id").is_in(chosen.implode())), left - len(chosen)
                reviews, rejects = split(some, REVIEWS)
                rejected.append(rejects)
                yield _make_ids(reviews).with_columns(language=by_script()).select(*_REVIEW)

        return replace(Dump.of(usable(), Spread("dump", _REVIEW, ranges), rejected), files=files.described)


def _ranges(files: Files, scratch: Path | None) -> Ranges:
    """Of a large dump all names are read once before anything else is; a small one is one range."""
    if scratch is None:
        return WHOLE
    names = Contract({"restaurant_id": REVIEWS.columns["restaurant_id"]}, required=("restaurant_id",))
    return ranges_for((piece["restaurant_id"] for piece in files.pieces(names)), files.size, scratch)


def _selected(files: Files, selection: Selection, rows: Spread) -> Spread:
    absent = set(selection.restaurants)
    for piece in files.pieces():
        some = piece.select(*_ROW)
        if selection.restaurants:
            some = some.filter(pl.col("restaurant_id").is_in(selection.restaurants))
            absent -= set(some["restaurant_id"])
        if selection.since is not None:
            some = some.filter(pl.col("created_at") >= selection.since)
        if selection.until is not None:
            some = some.filter(pl.col("created_at") < selection.until)
        rows.append(some)
    if absent:
        raise BadData(f"the dump has no restaurant_id {', '.join(map(repr, sorted(absent)[:5]))}; check --restaurant")
    return rows


def _reason() -> pl.Expr:
    """Why a row cannot be used, or null."""
    return (
        pl.when(pl.col("restaurant_id").is_null() | (pl.col("restaurant_id").str.strip_chars() == ""))
        .then(pl.lit("no restaurant_id"))
        .when("undecodable")
        .then(pl.lit("text is not UTF-8"))
        .when(pl.col("text").is_null())
        .then(pl.lit("no text"))
        .when(too_long(REVIEWS).is_not_null())
        .then(too_long(REVIEWS))
        .when(blank(pl.col("text")))
        .then(pl.lit("blank text"))
    )


def _make_ids(reviews: pl.DataFrame) -> pl.DataFrame:
    """Ids for rows without one, from restaurant, text, date, rating and occurrence: two guests may both write the same words."""
    without = reviews.filter(pl.col("review_id").is_null())
    if without.is_empty():
        return reviews
    content = ["restaurant_id", "text", "created_at", "rating"]
    without = without.sort("restaurant_name", "category", "area", "arrival")  # rows alike but for these get their ids in one order
    counted = without.select("arrival", *content, occurrence=pl.int_range(pl.len()).over(content))
    made = [
        "made-" + hashlib.blake2b("\x1f".join(map(str, row)).encode(), digest_size=10).hexdigest()
        for row in counted.select(*content, "occurrence").iter_rows()
    ]
    ids = counted.select("arrival", made=pl.Series(made, dtype=pl.String))
    return (
        reviews.join(ids, on="arrival", how="left", maintain_order="left")
        .with_columns(review_id=pl.coalesce("review_id", "made"))
        .drop("made")
    )


def by_script() -> pl.Expr:
    """`ko` where at least a third of the letters are Hangul (a syllable says more than a letter), else `en`."""
    hangul = pl.col("text").str.count_matches(HANGUL)
    return pl.when((hangul > 0) & (2 * hangul >= pl.col("text").str.count_matches(LATIN))).then(pl.lit("ko")).otherwise(pl.lit("en"))
