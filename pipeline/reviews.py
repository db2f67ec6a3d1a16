"""The input contract: scan the dump's files, map and check columns, split off rejects. Selected rows = reviews + rejects, always."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from pipeline.columns import COLUMNS, blank, names_in_file, read_file
from pipeline.errors import BadData
from pipeline.inputs import InputFile, check, describe, find, unchanged

TEXTS = [name for name, dtype in COLUMNS.items() if dtype == pl.String]
REJECT_SCHEMA = {"source_file": pl.String(), "source_row": pl.Int64(), "reason": pl.String(), **COLUMNS}

MOST_INPUT_BYTES = 50 << 30
"""Of the columns read, uncompressed, over all files."""
MOST_TEXT_BYTES = 1_000_000
"""Of one text, name or id. No review is longer than a novel; what is would cost a run's memory and time for nothing."""
KEPT_CHARACTERS = 200
"""Of a value over that limit, in its reject."""

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


@dataclass(frozen=True, slots=True)
class Dump:
    """What was read. `reviews`: the contract's columns, `language` and `arrival` (row number over all files). `rejects`: REJECT_SCHEMA."""

    reviews: pl.DataFrame
    rejects: pl.DataFrame
    files: list[InputFile] = field(default_factory=list)

    @property
    def named_rejects(self) -> pl.DataFrame:
        """Rejects that belong to a restaurant."""
        return self.rejects.filter(pl.col("restaurant_id").str.strip_chars() != "")

    def without(self, restaurants: Collection[str]) -> Dump:
        """What concerns other restaurants, or none."""
        these = pl.DataFrame({"restaurant_id": pl.Series(sorted(restaurants), dtype=pl.String)})
        return replace(
            self,
            reviews=self.reviews.join(these, on="restaurant_id", how="anti"),
            rejects=self.rejects.join(these, on="restaurant_id", how="anti"),
        )


def read(
    inputs: Sequence[str],
    columns: Mapping[str, str] | None = None,
    selection: Selection | None = None,
    max_input_bytes: int = MOST_INPUT_BYTES,
) -> Dump:
    """Reads files, globs, directories (hive partitions are columns) or object-store URIs as one dump.

    `columns` maps the contract's names to the dump's. Raises NoInput; BadData for a damaged file, a missing column, a wrong type, more
    bytes than allowed or a restaurant that is not there; TryAgain where a file changed meanwhile.
    """
    selection = selection or Selection()
    files = find(inputs)
    with unchanged(files):
        rows = _read_files(files, columns or {}, max_input_bytes).with_row_index("arrival")
        described = [describe(path) for path in files]
    rows = _select(rows, selection)
    rows = rows.with_columns(reason=_reason())
    rows = _reject_repeated(rows)
    if selection.limit is not None:
        named = rows.filter(pl.col("reason").ne_missing("no restaurant_id"))
        chosen = named["restaurant_id"].unique().sort().head(selection.limit)
        rows = rows.filter(pl.col("restaurant_id").is_in(chosen.implode()))
    rejected = pl.col("reason").is_not_null()
    reviews = _make_ids(rows.filter(~rejected)).with_columns(language=_language())
    rejects = rows.filter(rejected).with_columns(_beginning(name) for name in TEXTS)
    rejects = rejects.select(REJECT_SCHEMA.keys()).cast(pl.Schema(REJECT_SCHEMA))
    return Dump(reviews.drop("reason", "undecodable"), rejects, described)


def _read_files(files: Sequence[str], columns: Mapping[str, str], most: int) -> pl.DataFrame:
    """All files' rows. What they hold is added up twice: as promised, before anything is read, and as text that came out of them, since a
    dictionary may stand for a thousand times its size."""
    wanted = set(names_in_file(columns).values())
    _check_held("uncompressed", sum(check(path, wanted) for path in files), most)
    parts = [read_file(path, columns) for path in files]
    _check_held("of text", sum(_text_bytes(part) for part in parts), most)
    return pl.concat(parts)


def _check_held(of_what: str, found: int, most: int) -> None:
    if found > most:
        raise BadData(
            f"the dump holds {found:,} bytes {of_what} in the columns read, the limit is {most:,}; "
            "raise --max-input-bytes or read it in parts"
        )


def _text_bytes(rows: pl.DataFrame) -> int:
    return sum(rows.select(pl.col(name).str.len_bytes().cast(pl.Int64).sum() for name in TEXTS).row(0))  # 32 bits would overflow


def _beginning(name: str) -> pl.Expr:
    """A reject shows what a value over the limit looks like, and stays small."""
    value = pl.col(name)
    return pl.when(value.str.len_bytes() > MOST_TEXT_BYTES).then(value.str.head(KEPT_CHARACTERS)).otherwise(value).alias(name)


def _select(rows: pl.DataFrame, selection: Selection) -> pl.DataFrame:
    if selection.restaurants:
        rows = rows.filter(pl.col("restaurant_id").is_in(selection.restaurants))
        if absent := sorted(set(selection.restaurants) - set(rows["restaurant_id"])):
            raise BadData(f"the dump has no restaurant_id {', '.join(map(repr, absent[:5]))}; check --restaurant")
    if selection.since is not None:
        rows = rows.filter(pl.col("created_at") >= selection.since)
    if selection.until is not None:
        rows = rows.filter(pl.col("created_at") < selection.until)
    return rows


def _reason() -> pl.Expr:
    """Why a row cannot be used, or null."""
    too_long = pl.coalesce(
        pl.when(pl.col(name).str.len_bytes() > MOST_TEXT_BYTES).then(pl.lit(f"{name} is over {MOST_TEXT_BYTES:,} bytes")) for name in TEXTS
    )
    return (
        pl.when(pl.col("restaurant_id").is_null() | (pl.col("restaurant_id").str.strip_chars() == ""))
        .then(pl.lit("no restaurant_id"))
        .when("undecodable")
        .then(pl.lit("text is not UTF-8"))
        .when(pl.col("text").is_null())
        .then(pl.lit("no text"))
        .when(too_long.is_not_null())
        .then(too_long)
        .when(blank(pl.col("text")))
        .then(pl.lit("blank text"))
    )


def _reject_repeated(rows: pl.DataFrame) -> pl.DataFrame:
    """Of usable rows with the same given id the first by content stays: date, then text, rating, and what else the row says."""
    content = ["created_at", "text", "rating", "restaurant_name", "category", "area", "arrival"]
    given = rows.filter(pl.col("reason").is_null() & pl.col("review_id").is_not_null()).sort(content, nulls_last=True)
    first = given.unique(["restaurant_id", "review_id"], keep="first", maintain_order=True)
    repeated = given.join(first.select("arrival"), on="arrival", how="anti")["arrival"]
    again = pl.col("arrival").is_in(repeated.implode())
    return rows.with_columns(reason=pl.when(again).then(pl.lit("repeated review_id")).otherwise("reason"))


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


def _language() -> pl.Expr:
    """`ko` where at least a third of the letters are Hangul (a syllable says more than a letter), else `en`."""
    hangul = pl.col("text").str.count_matches(HANGUL)
    return pl.when((hangul > 0) & (2 * hangul >= pl.col("text").str.count_matches(LATIN))).then(pl.lit("ko")).otherwise(pl.lit("en"))
