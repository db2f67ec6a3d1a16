"""Valid Parquet files of many kinds, and seeded ways to damage them. A mutation is named `base/kind/seed`, which makes it again."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

ROWS = 400
TAIL = 8  # length of the footer and magic


def table() -> pa.Table:
    rng = random.Random(1)
    first = datetime(2024, 1, 1)  # noqa: DTZ001
    text = [f"review {i} " + rng.choice(["맛있어요", "too salty", "great noodles"]) * rng.randint(0, 9) for i in range(ROWS)]
    return pa.table(
        {
            "restaurant_id": [f"r{i % 7}" for i in range(ROWS)],
            "review_id": pa.array(range(ROWS), pa.int64()),
            "text": [one if i % 50 else None for i, one in enumerate(text)],
            "rating": [rng.choice([1.0, 2.5, 5.0, None]) for _ in range(ROWS)],
            "created_at": pa.array([first + timedelta(hours=i) for i in range(ROWS)], pa.timestamp("us")),
            "category": pa.array([rng.choice(["noodles", "grill"]) for _ in range(ROWS)]).dictionary_encode(),
            "menu": [[{"dish": "면", "price": i}] * (i % 3) for i in range(ROWS)],
        }
    )


def _arrow(**options: object) -> bytes:
    sink = BytesIO()
    pq.write_table(table(), sink, **options)
    return sink.getvalue()


def _polars(**options: object) -> bytes:
    sink = BytesIO()
    pl.from_arrow(table()).write_parquet(sink, **options)  # type: ignore[union-attr]
    return sink.getvalue()


def _other_types() -> bytes:
    """The accepted types that the other bases have not, and columns that are never null."""
    rows = table()
    numbers = pa.array(range(ROWS), pa.int32())
    others = {
        "restaurant_id": pc.cast(pc.bit_wise_and(numbers, 7), pa.uint8()),
        "review_id": rows["review_id"].cast(pa.string()).cast(pa.large_binary()),
        "text": rows["text"].fill_null("fine").cast(pa.large_string()),
        "rating": numbers.cast(pa.decimal128(12, 2)),
        "created_at": rows["created_at"].cast(pa.timestamp("ns", "Asia/Seoul")),
        "area": pa.array(["Mapo", None] * (ROWS // 2), pa.string_view()),
        "flag": pa.array([True, False] * (ROWS // 2)),
    }
    required = pa.schema([pa.field(name, one.type, nullable=one.null_count > 0) for name, one in others.items()])
    sink = BytesIO()
    pq.write_table(pa.table(others, schema=required), sink, use_deprecated_int96_timestamps=True, compression="none", data_page_size=400)
    return sink.getvalue()


DELTA = {
    "restaurant_id": "DELTA_BYTE_ARRAY",
    "review_id": "DELTA_BINARY_PACKED",
    "text": "DELTA_LENGTH_BYTE_ARRAY",
    "rating": "BYTE_STREAM_SPLIT",
    "created_at": "DELTA_BINARY_PACKED",
}
BASES: dict[str, Callable[[], bytes]] = {
    "plain": lambda: _arrow(use_dictionary=False, compression="none"),
    "dictionary": lambda: _arrow(compression="none", data_page_size=512),
    "snappy": lambda: _arrow(compression="snappy"),
    "gzip-groups-v2": lambda: _arrow(compression="gzip", row_group_size=37, data_page_version="2.0"),
    "delta-v2": lambda: _arrow(use_dictionary=False, column_encoding=DELTA, compression="none", data_page_version="2.0"),
    "zstd-index": lambda: _arrow(compression="zstd", write_page_index=True, write_page_checksum=True, store_schema=False),
    "other-types": _other_types,
    "polars": _polars,
    "polars-lz4-groups": lambda: _polars(compression="lz4", row_group_size=60, data_page_size=300),
    "polars-brotli": lambda: _polars(compression="brotli"),
}


@dataclass(frozen=True, slots=True)
class Number:
    """One number in a Thrift structure: where it lies, what it says, the fields that lead to it, whether it is a length."""

    start: int
    end: int
    value: int
    path: tuple[int, ...]
    is_length: bool


class Thrift:
    """Just enough of Thrift's compact protocol to find every number of one structure."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at
        self.numbers: list[Number] = []
        self._struct(())

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def _number(self, path: tuple[int, ...], is_length: bool) -> int:
        start = self.at
        raw = self._varint()
        value = raw if is_length else (raw >> 1) ^ -(raw & 1)
        self.numbers.append(Number(start, self.at, value, path, is_length))
        return value

    def _struct(self, path: tuple[int, ...]) -> None:
        field = 0
        while head := self.data[self.at]:
            self.at += 1
            if head >> 4:
                field += head >> 4
            else:
                raw = self._varint()
                field = (raw >> 1) ^ -(raw & 1)
            if head & 15 > 2:  # booleans are in the head
                self._value(head & 15, (*path, field))
        self.at += 1

    def _value(self, kind: int, path: tuple[int, ...]) -> None:
        if kind in (4, 5, 6):
            self._number(path, is_length=False)
        elif kind == 8:
            length = self._number(path, is_length=True)
            self.at += length
        elif kind in (9, 10):
            head = self.data[self.at]
            self.at += 1
            size = head >> 4 if head >> 4 < 15 else self._number(path, is_length=True)
            for _ in range(size):
                self._value(head & 15, path)
        elif kind == 12:
            self._struct(path)
        else:
            self.at += {1: 1, 2: 1, 3: 1, 7: 8}[kind]


def varint(value: int, is_length: bool = False) -> bytes:
    """A number of up to 64 bits as Thrift writes it; lengths are unsigned."""
    raw = value if is_length else (value << 1) ^ (value >> 63)
    raw &= (1 << 64) - 1
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    return bytes([*out, raw])


def footer_of(content: bytes) -> tuple[int, bytes]:
    """Where the footer begins, and its bytes."""
    (size,) = struct.unpack("<I", content[-TAIL:-4])
    return len(content) - TAIL - size, content[-TAIL - size : -TAIL]


def with_footer(body: bytes, footer: bytes) -> bytes:
    return body + footer + struct.pack("<I", len(footer)) + b"PAR1"


def _another(rng: random.Random, number: Number, others: list[Number]) -> int:
    few = [0, 1, -1, 2, 127, 2**31 - 1, 2**31, -(2**31), 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)]
    near = [number.value + 1, number.value - 1, number.value * 2, number.value * 1000, number.value // 2, -number.value]
    value = rng.choice(rng.choice([few, near, [rng.choice(others).value], [rng.getrandbits(31)], [rng.getrandbits(8)]]))
    return abs(value) if number.is_length else value


def _replace(data: bytes, number: Number, value: int) -> bytes:
    return data[: number.start] + varint(value, number.is_length) + data[number.end :]


def footer_number(rng: random.Random, content: bytes) -> bytes:
    """One to three numbers of the footer replaced, its form kept."""
    start, footer = footer_of(content)
    for _ in range(rng.choice([1, 1, 2, 3])):
        try:
            numbers = Thrift(footer, 0).numbers
        except (IndexError, KeyError, RecursionError):  # a length replaced before left no whole structure
            break
        number = rng.choice(numbers)
        footer = _replace(footer, number, _another(rng, number, numbers))
    return with_footer(content[:start], footer)


def same_number(rng: random.Random, content: bytes) -> bytes:
    """A value replaced wherever the footer has it, so that its parts agree in the lie."""
    start, footer = footer_of(content)
    numbers = [one for one in Thrift(footer, 0).numbers if not one.is_length]
    chosen = rng.choice([one for one in numbers if one.value > 30])
    value = _another(rng, chosen, numbers)
    for one in reversed(numbers):
        if one.value == chosen.value:
            footer = _replace(footer, one, value)
    return with_footer(content[:start], footer)


def footer_bytes(rng: random.Random, content: bytes) -> bytes:
    start, footer = footer_of(content)
    changed = bytearray(footer)
    for _ in range(rng.randint(1, 4)):
        changed[rng.randrange(len(changed))] = rng.randrange(256)
    return with_footer(content[:start], bytes(changed))


def footer_length(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice([0, 1, len(content), len(content) - 12, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(len(content))])
    return content[:-TAIL] + struct.pack("<I", size) + content[-4:]


def _chunks(footer: bytes) -> Iterator[tuple[int, int]]:
    """Begin and length of every column chunk, by the footer's own words: row group (4), columns (1), metadata (3)."""
    found: dict[int, int] = {}
    for one in Thrift(footer, 0).numbers:
        if one.path == (4, 1, 3, 7):
            length = one.value
        elif one.path == (4, 1, 3, 9):
            begin = one.value
            found[begin] = length
        elif one.path == (4, 1, 3, 11):
            del found[begin]
            found[min(begin, one.value)] = length
    yield from sorted(found.items())


def page_number(rng: random.Random, content: bytes) -> bytes:
    """One number of one page's header replaced; all offsets and sizes follow, so that readers get as far as the page."""
    start, footer = footer_of(content)
    begin, length = rng.choice(list(_chunks(footer)))
    headers, at = [], begin
    while at < begin + length:
        header = Thrift(content, at)
        headers.append(header)
        at = header.at + next(one.value for one in header.numbers if one.path == (3,))
    numbers = rng.choice(headers).numbers
    number = rng.choice(numbers)
    value = _another(rng, number, numbers)
    longer = len(varint(value, number.is_length)) - (number.end - number.start)
    places = [one for one in Thrift(footer, 0).numbers if one.path[:3] == (4, 1, 3) and len(one.path) == 4]
    current = [one for one in places if one.path[-1] in (9, 11) and begin <= one.value < begin + length]
    nearest = max((one for one in places if one.path[-1] == 7 and one.start < current[0].start), key=lambda one: one.start)
    for one in reversed(places):
        if one is nearest or (one.path[-1] in (9, 11) and one.value > number.start):
            footer = _replace(footer, one, one.value + longer)
    return with_footer(_replace(content, number, value)[: start + longer], footer)


def page_bytes(rng: random.Random, content: bytes) -> bytes:
    """A few bytes near the beginning of a column chunk: page headers, levels, lengths."""
    begin, length = rng.choice(list(_chunks(footer_of(content)[1])))
    changed = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        changed[begin + rng.randrange(min(length, rng.choice([20, 60, length])))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
    return bytes(changed)


def flipped_bits(rng: random.Random, content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(rng.choice([1, 3, 20, 200])):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def run_replaced(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice([4, 16, 100, 1000])
    at = rng.randrange(len(content) - size)
    filling = rng.choice([bytes(size), b"\xff" * size, rng.randbytes(size)])
    return content[:at] + filling + content[at + size :]


def truncated(rng: random.Random, content: bytes) -> bytes:
    """Cut off, at times with a sound footer behind the cut."""
    start, footer = footer_of(content)
    at = rng.randrange(len(content))
    return rng.choice([content[:at], with_footer(content[: min(at, start)], footer)])


def spliced_pages(rng: random.Random, content: bytes) -> bytes:
    """One column chunk's bytes written over another's, from this or another base."""
    chunks = list(_chunks(footer_of(content)[1]))
    to, room = rng.choice(chunks)
    other = rng.choice([content, base(rng.choice(list(BASES)))])
    begin, length = rng.choice(list(_chunks(footer_of(other)[1])))
    piece = other[begin : begin + min(length, room)]
    return content[:to] + piece + content[to + len(piece) :]


def swapped_regions(rng: random.Random, content: bytes) -> bytes:
    size = rng.choice([8, 64, 500])
    first, second = sorted(rng.sample(range(len(content) // size), 2))
    cut = [content[i * size : (i + 1) * size] for i in (first, second)]
    between = content[(first + 1) * size : second * size]
    return content[: first * size] + cut[1] + between + cut[0] + content[(second + 1) * size :]


def foreign_footer(rng: random.Random, content: bytes) -> bytes:
    """One file's data under another file's footer."""
    other = base(rng.choice([name for name in BASES if base(name) != content]))
    return with_footer(content[: footer_of(content)[0]], footer_of(other)[1])


KINDS: dict[str, tuple[int, Callable[[random.Random, bytes], bytes]]] = {
    one.__name__: (weight, one)
    for weight, one in [
        (5, footer_number),
        (3, same_number),
        (3, footer_bytes),
        (1, footer_length),
        (4, page_number),
        (3, page_bytes),
        (2, flipped_bits),
        (2, run_replaced),
        (1, truncated),
        (1, spliced_pages),
        (1, swapped_regions),
        (1, foreign_footer),
    ]
}
_made: dict[str, bytes] = {}


def base(name: str) -> bytes:
    if name not in _made:
        _made[name] = BASES[name]()
    return _made[name]


def names(count: int) -> list[str]:
    """`count` mutations, the same ones every time; the first of a longer list are the shorter list."""
    kinds = [name for name, (weight, _) in KINDS.items() for _ in range(weight)]
    return [f"{random.Random(seed).choice(list(BASES))}/{random.Random(-1 - seed).choice(kinds)}/{seed}" for seed in range(count)]


def mutated(name: str) -> bytes:
    """The damaged file that a mutation's name stands for."""
    base_name, kind, seed = name.split("/")
    return KINDS[kind][1](random.Random(f"{kind} {seed}"), base(base_name))
