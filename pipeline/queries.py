"""The input contract of search queries: what can be asked about, and the rejects. Selected rows = queries + rejects, always."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import polars as pl

from pipeline.columns import blank
from pipeline.contract import Contract
from pipeline.inputs import InputFile
from pipeline.reading import MOST_INPUT_BYTES, read_files, reject_repeated, split, too_long
from pipeline.reviews import by_script
from pipeline.tasks.prompts import LANGUAGE_NAMES

QUERIES = Contract(
    {"query_id": pl.String(), "text": pl.String(), "language": pl.String()},
    required=("query_id", "text"),
    optional_text=("query_id", "language"),
)
MOST_CHARACTERS = 200
"""Of one query. What is longer was not typed into a search field."""


@dataclass(frozen=True, slots=True)
class Queries:
    """What was read. `rows`: query_id, text, language (`en` or `ko`) and arrival (row number over all files), sorted by query_id.
    `rejects`: the contract's `reject_schema`."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    files: list[InputFile] = field(default_factory=list)

    @property
    def languages(self) -> set[str]:
        """Of its queries."""
        return set(self.rows["language"].unique())

    @property
    def figures(self) -> dict[str, int]:
        """How much was read: files, queries, rejects."""
        return {"files": len(self.files), "queries": self.rows.height, "rejects": self.rejects.height}

    def without(self, names: Collection[str]) -> Queries:
        """The others' rows; all rejects."""
        these = pl.DataFrame({"query_id": pl.Series(sorted(names), dtype=pl.String)})
        return replace(self, rows=self.rows.join(these, on="query_id", how="anti", maintain_order="left"))


def read_queries(
    inputs: Sequence[str],
    columns: Mapping[str, str] | None = None,
    limit: int | None = None,
    max_input_bytes: int = MOST_INPUT_BYTES,
) -> Queries:
    """Reads files, globs, folders or object-store URIs of search queries as one; `limit` takes the first queries by id.

    `columns` maps the contract's names to the files'. Of rows with one id the first by text and language stays, so that the order of rows
    changes nothing. Raises NoInput; BadData for a damaged file, a missing column, a wrong type or more bytes than allowed; TryAgain.
    """
    rows, files = read_files(inputs, columns or {}, QUERIES, max_input_bytes)
    rows = rows.with_columns(reason=_reason())
    rows = reject_repeated(rows, ["query_id"], ["text", "language"])
    if limit is not None:
        chosen = rows["query_id"].drop_nulls().unique().sort().head(limit)
        rows = rows.filter(pl.col("query_id").is_in(chosen.implode()))
    usable, rejects = split(rows, QUERIES)
    queries = usable.select("query_id", "text", pl.coalesce(_given(), by_script()).alias("language"), "arrival")
    return Queries(queries.sort("query_id"), rejects, files)


def _given() -> pl.Expr:
    """The language as it was given, `en-GB` as `en`."""
    return pl.col("language").str.strip_chars().str.to_lowercase().str.replace("[-_].*$", "")


def _reason() -> pl.Expr:
    """Why a row cannot be used, or null."""
    return (
        pl.when(pl.col("query_id").is_null())
        .then(pl.lit("no query_id"))
        .when("undecodable")
        .then(pl.lit("text is not UTF-8"))
        .when(pl.col("text").is_null())
        .then(pl.lit("no text"))
        .when(too_long(QUERIES).is_not_null())
        .then(too_long(QUERIES))
        .when(blank(pl.col("text")))
        .then(pl.lit("blank text"))
        .when(pl.col("text").str.len_chars() > MOST_CHARACTERS)
        .then(pl.lit(f"text is over {MOST_CHARACTERS} characters"))
        .when(~_given().is_in(sorted(LANGUAGE_NAMES)))
        .then(pl.lit(f"language is none of {', '.join(sorted(LANGUAGE_NAMES))}"))
    )
