"""All files of an input to one table of its contract's columns, and to rows that can be used and rejects: rows = usable rows + rejects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import polars as pl

from pipeline.columns import about_bytes, read_file
from pipeline.contract import Contract
from pipeline.errors import BadData
from pipeline.inputs import InputFile, check, describe, find, is_remote, unchanged

MOST_INPUT_BYTES = 50 << 30
"""Of the columns read, uncompressed, over all files."""
MOST_TEXT_BYTES = 1_000_000
"""Of one text, name or id. No review is longer than a novel; what is would cost a run's memory and time for nothing."""
PIECE_BYTES = 128 << 20
"""Of a file's columns, uncompressed, that are in memory at once on their way to where they are kept."""
KEPT_CHARACTERS = 200
"""Of a value over that limit, in its reject."""


@dataclass(frozen=True, slots=True)
class Files:
    """The files of an input. `sizes`: bytes that each holds in the columns read, as its footer promises; of one in an object store, about
    so many."""

    paths: Sequence[str]
    sizes: Sequence[int]
    columns: Mapping[str, str]
    contract: Contract
    most: int

    @property
    def size(self) -> int:
        """Of all of them, in bytes."""
        return sum(self.sizes)

    @property
    def described(self) -> list[InputFile]:
        """With their digests, for a manifest."""
        return [describe(path) for path in self.paths]

    def pieces(self, contract: Contract | None = None) -> Iterator[pl.DataFrame]:
        """All rows, some PIECE_BYTES of a file at a time, with `source_file`, `source_row`, `undecodable` and `arrival` (row number over
        all files). `contract`: of fewer columns. Raises BadData.

        What the files hold is added up twice: as promised, before anything is read, and as text that came out of them, since a dictionary
        may stand for a thousand times its size."""
        wanted = contract or self.contract
        arrival = texts = 0
        for path, size in zip(self.paths, self.sizes, strict=True):
            for piece in read_file(path, self.columns, wanted, size // PIECE_BYTES + 1):
                texts += _text_bytes(piece, wanted)
                _check_held("of text", texts, self.most)
                yield piece.with_row_index("arrival", arrival)
                arrival += piece.height


@contextmanager
def opened(inputs: Sequence[str], columns: Mapping[str, str], contract: Contract, most: int) -> Iterator[Files]:
    """Files to be read inside. `columns` maps the contract's names to the files'; `most`: bytes that the columns read may hold. Raises
    NoInput, BadData; TryAgain at the end where one of them changed meanwhile."""
    paths = find(inputs)
    with unchanged(paths):
        wanted = set(contract.names_in_file(columns).values())
        promised = [check(path, wanted) for path in paths]
        _check_held("uncompressed", sum(promised), most)
        sizes = [about_bytes(path, columns, contract) if is_remote(path) else size for path, size in zip(paths, promised, strict=True)]
        yield Files(paths, sizes, columns, contract, most)


def read_files(inputs: Sequence[str], columns: Mapping[str, str], contract: Contract, most: int) -> tuple[pl.DataFrame, list[InputFile]]:
    """All rows at once, and the files they are from. Raises NoInput, BadData, TryAgain."""
    with opened(inputs, columns, contract, most) as files:
        return pl.concat(files.pieces()), files.described


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
