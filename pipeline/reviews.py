"""The input contract: scan the dump's files, map and check columns, split off rejects. Selected rows = reviews + rejects, always."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from pipeline.columns import REVIEWS, blank
from pipeline.errors import BadData
from pipeline.inputs import InputFile
from pipeline.reading import MOST_INPUT_BYTES, read_files, reject_repeated, split, too_long

CONTENT = ("created_at", "text", "rating", "restaurant_name", "category", "area")
"""What decides which of several reviews with one id stays."""
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
    """What was read. `reviews`: the contract's columns, `language` and `arrival` (row number over all files). `rejects`: its
    `reject_schema`. `answered`: restaurant_id and review_id of reviews about which earlier runs have asked, None where nobody knows."""

    reviews: pl.DataFrame
    rejects: pl.DataFrame
    files: list[InputFile] = field(default_factory=list)
    answered: pl.DataFrame | None = None

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
    rows, files = read_files(inputs, columns or {}, REVIEWS, max_input_bytes)
    rows = _select(rows, selection)
    rows = rows.with_columns(reason=_reason())
    rows = reject_repeated(rows, ["restaurant_id", "review_id"], CONTENT)
    if selection.limit is not None:
        named = rows.filter(pl.col("reason").ne_missing("no restaurant_id"))
        chosen = named["restaurant_id"].unique().sort().head(selection.limit)
        rows = rows.filter(pl.col("restaurant_id").is_in(chosen.implode()))
    usable, rejects = split(rows, REVIEWS)
    return Dump(_make_ids(usable).with_columns(language=by_script()), rejects, files)


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
