"""All files of an input to one table of its contract's columns, and to rows that can be used and rejects: rows = usable rows + rejects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from pipeline.columns import Contract, read_file
from pipeline.errors import BadData
from pipeline.inputs import InputFile, check, describe, find, unchanged

MOST_INPUT_BYTES = 50 << 30
"""Of the columns read, uncompressed, over all files."""
MOST_TEXT_BYTES = 1_000_000
"""Of one text, name or id. No review is longer than a novel; what is would cost a run's memory and time for nothing."""
KEPT_CHARACTERS = 200
"""Of a value over that limit, in its reject."""


def read_files(inputs: Sequence[str], columns: Mapping[str, str], contract: Contract, most: int) -> tuple[pl.DataFrame, list[InputFile]]:
    """All rows, with `source_file`, `source_row`, `undecodable` and `arrival` (row number over all files), and the files they are from.

    `columns` maps the contract's names to the files'; `most`: bytes that the columns read may hold. Raises NoInput, BadData, TryAgain.
    """
    files = find(inputs)
    with unchanged(files):
        rows = _read(files, columns, contract, most).with_row_index("arrival")
        return rows, [describe(path) for path in files]


def _read(files: Sequence[str], columns: Mapping[str, str], contract: Contract, most: int) -> pl.DataFrame:
    """What the files hold is added up twice: as promised, before anything is read, and as text that came out of them, since a dictionary
    may stand for a thousand times its size."""
    wanted = set(contract.names_in_file(columns).values())
    _check_held("uncompressed", sum(check(path, wanted) for path in files), most)
    parts = [read_file(path, columns, contract) for path in files]
    _check_held("of text", sum(_text_bytes(part, contract) for part in parts), most)
    return pl.concat(parts)


def _check_held(of_what: str, found: int, most: int) -> None:
    if found > most:
        raise BadData(
            f"the dump holds {found:,} bytes {of_what} in the columns read, the limit is {most:,}; "
            "raise --max-input-bytes or read it in parts"
        )


def _text_bytes(rows: pl.DataFrame, contract: Contract) -> int:
    return sum(rows.select(pl.col(name).str.len_bytes().cast(pl.Int64).sum() for name in contract.texts).row(0))  # 32 bits would overflow


def too_long(contract: Contract) -> pl.Expr:
    """The reason where a text, name or id is over the limit, or null."""
    return pl.coalesce(
        pl.when(pl.col(name).str.len_bytes() > MOST_TEXT_BYTES).then(pl.lit(f"{name} is over {MOST_TEXT_BYTES:,} bytes"))
        for name in contract.texts
    )


def reject_repeated(rows: pl.DataFrame, ids: Sequence[str], content: Sequence[str]) -> pl.DataFrame:
    """Of usable rows with the same `ids`, the last of them given, the first by content stays; the others get a `reason`."""
    given = rows.filter(pl.col("reason").is_null() & pl.col(ids[-1]).is_not_null()).sort(*content, "arrival", nulls_last=True)
    first = given.unique(ids, keep="first", maintain_order=True)
    repeated = given.join(first.select("arrival"), on="arrival", how="anti")["arrival"]
    again = pl.col("arrival").is_in(repeated.implode())
    return rows.with_columns(reason=pl.when(again).then(pl.lit(f"repeated {ids[-1]}")).otherwise("reason"))


def split(rows: pl.DataFrame, contract: Contract) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows without a `reason`, and the others as rejects, which keep the beginning of what is too long."""
    rejected = pl.col("reason").is_not_null()
    rejects = rows.filter(rejected).with_columns(_beginning(name) for name in contract.texts)
    return (
        rows.filter(~rejected).drop("reason", "undecodable"),
        rejects.select(contract.reject_schema.keys()).cast(pl.Schema(contract.reject_schema)),
    )


def _beginning(name: str) -> pl.Expr:
    """A reject shows what a value over the limit looks like, and stays small."""
    value = pl.col(name)
    return pl.when(value.str.len_bytes() > MOST_TEXT_BYTES).then(value.str.head(KEPT_CHARACTERS)).otherwise(value).alias(name)
