"""What the pages of one column promise, one after another; their data stays unread, unless a page names its checksum."""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

from pipeline.footer import MOST_UNCOMPRESSED_RATIO, Chunk, Untrue
from pipeline.thrift import Malformed, read_struct

DATA, DICTIONARY, DATA_V2 = 0, 2, 3
FACTS = {DATA: 5, DICTIONARY: 7, DATA_V2: 8}  # the field of a header that says what only this kind of page has
ALWAYS_ALLOWED_PAGE = 256 << 20  # a reader takes that memory before it uncompresses the first byte
FIRST_READ, MOST_READ = 1 << 10, 16 << 20  # a header takes some 20 bytes, with statistics as much as the longest texts in them


def check_pages(file: BinaryIO, chunk: Chunk) -> int:
    """The uncompressed bytes that a chunk's pages promise together.

    Raises Untrue where they reach beyond the chunk, hold another number of values than the footer says, or fail their checksum.
    """
    at, end = chunk.begin, chunk.begin + chunk.size
    values = uncompressed = 0
    while values < chunk.values:
        try:
            header, data = _header(file, at, end)
            kind, full, size = header[1], header[2], header[3]
            facts = header[FACTS[kind]] if kind in FACTS else {1: 0}
            said = header.get(4)
            checksum = None if said is None else said & 0xFFFFFFFF  # written as a signed number
            count, levels = facts[1], facts.get(5, 0) + facts.get(6, 0) if kind == DATA_V2 else 0
            wrong = min(full, size, count, levels) < 0 or levels > size or data + size > end
            wrong |= full > max(ALWAYS_ALLOWED_PAGE, MOST_UNCOMPRESSED_RATIO * size)
            wrong |= kind == DICTIONARY and count > full  # a value of a dictionary takes a byte or more
        except (Malformed, IndexError, KeyError, TypeError, AttributeError):  # no structure, or not the fields that a header has
            wrong = True
        if wrong:
            raise Untrue(f"is damaged: the page at byte {at:,} promises what its column cannot hold")
        if checksum is not None and checksum != _checksum(file, data, size):
            raise Untrue(f"is damaged: the page at byte {at:,} has another checksum than it says")
        values += 0 if kind == DICTIONARY else count
        uncompressed += full
        at = data + size
    if values > chunk.values:
        raise Untrue(f"is damaged: pages promise {values:,} values, their column {chunk.values:,}")
    return uncompressed


def _header(file: BinaryIO, at: int, end: int) -> tuple[dict[int, Any], int]:
    """The header at byte `at`, and where the page's data begins."""
    length = FIRST_READ
    while True:
        file.seek(at)
        read = file.read(min(length, end - at))
        try:
            header, size = read_struct(read)
        except IndexError:
            if len(read) < length or length >= MOST_READ:
                raise
            length *= 16
        else:
            return header, at + size


def _checksum(file: BinaryIO, at: int, size: int) -> int:
    file.seek(at)
    return zlib.crc32(file.read(size))
