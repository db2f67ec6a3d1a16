"""Thrift's compact protocol, as far as Parquet uses it: bytes to plain values, bounded by the bytes that are there.

Parquet keeps its footer and the header of every page in this form. Readers in C++ and Rust build their own structures from it and trust
them; one number out of place and they end the process instead of raising. So the numbers are read here first, where nothing can break.
The protocol: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from __future__ import annotations

from typing import Any

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, STRUCT = 1, 2, 3, 7, 8, 9, 10, 12
INTEGERS = (4, 5, 6)  # of 16, 32 and 64 bits, written alike
DEEPEST = 16  # Parquet's own structures are 7 deep
MOST_VALUES = 2_000_000
"""In one structure: a footer of 50,000 column chunks. Empty structures take one byte each in a file and a hundred in memory."""


class Malformed(ValueError):
    """The bytes are no Thrift structure."""


def read_struct(data: bytes, at: int = 0) -> tuple[dict[int, Any], int]:
    """The structure that begins at byte `at`: {field number: int, bool, bytes, list or dict}, and where it ends.

    Raises Malformed, and IndexError where the bytes end before the structure does.
    """
    reader = _Reader(data, at)
    return reader.struct(0), reader.at


class _Reader:
    __slots__ = ("at", "data", "left")

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at, self.left = data, at, MOST_VALUES

    def struct(self, depth: int) -> dict[int, Any]:
        found: dict[int, Any] = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            found[field] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Any:
        self.left -= 1
        if depth > DEEPEST or not self.left:
            raise Malformed(f"nested more than {DEEPEST} deep" if self.left else f"more than {MOST_VALUES:,} values")
        if kind in INTEGERS:
            return self._integer()
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind == STRUCT:
            return self.struct(depth + 1)
        if kind in (LIST, SET):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._varint()
            if size > len(self.data) - self.at:  # every element takes a byte or more
                raise IndexError
            return [self._value(head & 15, depth + 1) for _ in range(size)]
        if kind in (TRUE, FALSE, BYTE):
            return self._byte()
        if kind == DOUBLE:
            return self._bytes(8)
        raise Malformed(f"a value of kind {kind}")

    def _byte(self) -> int:
        byte = self.data[self.at]
        self.at += 1
        return byte

    def _bytes(self, length: int) -> bytes:
        if length > len(self.data) - self.at:
            raise IndexError
        self.at += length
        return self.data[self.at - length : self.at]

    def _integer(self) -> int:
        raw = self._varint()
        return (raw >> 1) ^ -(raw & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise Malformed("a number of more than 64 bits")
        return value
