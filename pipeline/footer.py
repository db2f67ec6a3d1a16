"""What a Parquet file says of itself, held against its size before any reader believes it.

The footer and the page headers are promises by whoever wrote the file. Readers ask for memory on their word, and where it is absurd the
process ends: Polars aborts on a negative number of values, Arrow on a histogram of the wrong length. What is inconsistent
is refused here by name; what is merely damaged inside a page, the reader refuses itself.
The format: https://parquet.apache.org/docs/file-format/metadata/ (numbers of fields are those of parquet.thrift).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from pipeline.thrift import Malformed, read_struct

# Text compresses 3 to 10 times, a constant column a few thousand times, but then it is small. Above both limits the footer lies.
MOST_UNCOMPRESSED_RATIO = 2_000
ALWAYS_ALLOWED_BYTES = 1 << 30
MOST_ROWS_PER_BYTE = 1_000
ALWAYS_ALLOWED_ROWS = 1 << 20

MOST_FOOTER_BYTES = 64 << 20
MOST_COLUMNS = 10_000
DEEPEST_COLUMN = 64

MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"
TAIL = struct.Struct("<I4s")  # the footer's length, magic
FIRST_BYTE = len(MAGIC)
REPEATED = 2


class Untrue(ValueError):
    """What a file says of itself cannot be, or cannot be read; the message completes `FILE: ...` and ends with what to do."""

    def __init__(self, found: str, advice: str = "the file is damaged, write it again or leave it out") -> None:
        super().__init__(f"{found}; {advice}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column's part of one row group. `begin` and `size` in bytes of the file, `uncompressed` as promised; `flat`: a value per row."""

    column: str
    flat: bool
    begin: int
    size: int
    values: int
    uncompressed: int


@dataclass(frozen=True, slots=True)
class Footer:
    """`columns`: names of the top level in the file's order, repeated ones repeated."""

    size: int
    rows: int
    columns: list[str]
    chunks: list[Chunk]


def read_footer(file: BinaryIO) -> Footer:
    """The footer of an open Parquet file. Raises Untrue where it is none, is encrypted, or cannot be true for the file's size."""
    size = file.seek(0, 2)
    if size < FIRST_BYTE + TAIL.size:
        raise Untrue(f"is not Parquet or is damaged, {size} bytes are too few")
    file.seek(-TAIL.size, 2)
    length, magic = TAIL.unpack(file.read(TAIL.size))
    if magic == ENCRYPTED_MAGIC:
        raise Untrue("is encrypted", "write it again without encryption")
    if magic != MAGIC:
        raise Untrue("is not Parquet or is damaged, it does not end as Parquet does")
    if length > min(size - FIRST_BYTE - TAIL.size, MOST_FOOTER_BYTES):
        raise Untrue(f"is not Parquet or is damaged, a footer of {length:,} bytes in a file of {size:,} bytes")
    file.seek(-TAIL.size - length, 2)
    try:
        said, _ = read_struct(file.read(length))
        if said.get(8) or any(column.get(8) for group in said[4] for column in group[1]):
            raise Untrue("is encrypted", "write it again without encryption")
        return _footer(said, size - TAIL.size - length)
    except Malformed as error:
        raise Untrue(f"is not Parquet or is damaged, its footer is no Thrift structure ({error})") from None
    except IndexError:
        raise Untrue("is not Parquet or is damaged, its footer ends too early") from None
    except (KeyError, TypeError, AttributeError):  # a field that must be there is not, or is of another kind
        raise Untrue("is not Parquet or is damaged, its footer lacks what Parquet's has") from None


def _footer(said: dict[int, Any], end: int) -> Footer:
    rows, groups = said[3], said[4]
    leaves, columns = _leaves(said[2])
    chunks: list[Chunk] = []
    for group in groups:
        if len(group[1]) != len(leaves) or group[3] < 0:
            raise Untrue(f"its footer promises a row group of {group[3]:,} rows in {len(group[1]):,} of {len(leaves):,} columns")
        chunks.extend(_chunk(column, name, flat, group[3], end) for column, (name, flat) in zip(group[1], leaves, strict=True))
    held = sum(group[3] for group in groups)
    compressed = sum(one.size for one in chunks)
    uncompressed = max(sum(one.uncompressed for one in chunks), sum(group[2] for group in groups))
    if rows != held:
        raise Untrue(f"its footer promises {rows:,} rows, its row groups hold {held:,}")
    if compressed > end:
        raise Untrue(f"its footer promises {compressed:,} bytes of data in a file of {end:,} bytes")
    check_ratio("its footer", uncompressed, end)
    if rows > max(ALWAYS_ALLOWED_ROWS, MOST_ROWS_PER_BYTE * end):
        raise Untrue(f"its footer promises {rows:,} rows in a file of {end:,} bytes")
    return Footer(end, rows, columns, chunks)


def check_ratio(who: str, uncompressed: int, size: int) -> None:
    """Raises Untrue where nothing honest makes so many bytes out of so few."""
    if uncompressed > max(ALWAYS_ALLOWED_BYTES, MOST_UNCOMPRESSED_RATIO * size):
        raise Untrue(f"{who} promises {uncompressed:,} bytes out of {size:,}")


def _chunk(said: dict[int, Any], name: str, flat: bool, rows: int, end: int) -> Chunk:
    facts = said[3]
    values, uncompressed, size = facts[5], facts[6], facts[7]
    pages = [place for place in (facts[9], facts.get(11)) if place] or [FIRST_BYTE]  # data, dictionary; 0 stands for no such page
    begin = min(pages)
    if said.get(1):
        raise Untrue("has its data in other files", "name those instead")
    if min(values, uncompressed, size) < 0 or begin < FIRST_BYTE or begin + size > end or max(pages) > begin + size:
        where = f"{size:,} bytes of data at byte {begin:,} of {end:,}"
        raise Untrue(f"its footer promises {where}, {uncompressed:,} bytes uncompressed, {values:,} values")
    if flat and values != rows:
        raise Untrue(f"its footer promises {values:,} values for {rows:,} rows")
    return Chunk(name, flat, begin, size, values, uncompressed)


def _leaves(elements: list[dict[int, Any]]) -> tuple[list[tuple[str, bool]], list[str]]:
    """The columns that hold data, as (name at the top level, whether flat), and the names at the top level. The tree comes as a list."""
    if not 1 <= len(elements) <= MOST_COLUMNS:
        raise Untrue(f"its footer promises {len(elements):,} columns; at most {MOST_COLUMNS:,} are read")
    leaves: list[tuple[str, bool]] = []
    columns: list[str] = []
    open_groups: list[int] = [elements[0][5]]  # children still to come, from the root down
    for element in elements[1:]:
        while open_groups and not open_groups[-1]:
            open_groups.pop()
        if not open_groups or len(open_groups) > DEEPEST_COLUMN:
            raise Untrue(f"its footer promises columns that are in no group or more than {DEEPEST_COLUMN} deep")
        open_groups[-1] -= 1
        if len(open_groups) == 1:
            columns.append(element[4].decode(errors="backslashreplace"))
        if children := element.get(5):
            open_groups.append(children)
        else:
            leaves.append((columns[-1], len(open_groups) == 1 and element.get(3) != REPEATED))
    if any(open_groups):
        raise Untrue("its footer promises columns that are not there")
    return leaves, columns
