"""The files of a store: append-only Parquet parts, each named by a digest of its own bytes.

`v1-0000000042-65536-<digest>.parquet`: version of the columns, place in the order of writing (clocks may go backwards), rows, 128 bits of
blake2b.
A part that was cut, overwritten or hit by a failing disk no longer has the digest in its name; it is set aside and costs only its answers.
"""

from __future__ import annotations

import errno
import hashlib
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from polars.exceptions import PanicException, PolarsError

from pipeline import durable
from pipeline.errors import TryAgain

SCHEMA: dict[str, pl.DataType] = {
    "high": pl.UInt64(),
    "low": pl.UInt64(),
    "task": pl.String(),
    "stage": pl.String(),
    "restaurant_id": pl.String(),
    "text": pl.String(),
    "choices": pl.Binary(),
    "logprobs": pl.Binary(),
    "prompt_tokens": pl.UInt32(),
    "cached_tokens": pl.UInt32(),
    "output_tokens": pl.UInt32(),
    "queue_s": pl.Float64(),
    "prefill_s": pl.Float64(),
    "decode_s": pl.Float64(),
    "finish_reason": pl.String(),
    "added_at": pl.Datetime("us", "UTC"),
}
"""`high` and `low`: the 128 bits of the key. `choices`: token ids (little-endian uint32) whose `logprobs` (little-endian float64) were
asked for; packed, they are read and written faster than lists. `restaurant_id`: who asked first."""
VERSION = 1
"""Of SCHEMA. Parts of other versions belong to other releases of this program and are left alone."""

FULL = 1 << 16
"""Rows of a part that is not merged with others any more."""
SET_ASIDE = "damaged"

_NAME = re.compile(r"v(\d+)-(\d{10,})-(\d+)-([0-9a-f]{32})\.parquet")


@dataclass(frozen=True, slots=True)
class Part:
    """One file. `sequence` orders parts: of two answers to one question the later counts."""

    path: Path
    sequence: int
    height: int
    digest: str

    @property
    def full(self) -> bool:
        """Whether it is large enough to be left as it is."""
        return self.height >= FULL

    def rows(self, *columns: str) -> pl.DataFrame | None:
        """These columns, or all; None where the file is not the one that was written.

        Raises FileNotFoundError where it was merged or pruned."""
        try:
            content = self.path.read_bytes()
            if _digest(content) != self.digest:
                return None
            if pl.read_parquet_schema(io.BytesIO(content)) != SCHEMA:
                return None
            return pl.read_parquet(io.BytesIO(content), columns=list(columns or SCHEMA))
        except FileNotFoundError:
            raise
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):  # nothing is wrong with the file
                raise TryAgain(f"{self.path}: too many files are open; raise the limit (ulimit -n) and run again") from None
            return None
        except (PolarsError, PanicException):  # a disk that cannot read it, or a file that was never a part
            return None

    def set_aside(self) -> bool:
        """Out of the way, for a person to look at; whether it is. A store that cannot be written keeps it, and so does one that cannot be
        read (another user may read it, or the network may come back): it is passed over each time."""
        with suppress(OSError):
            self.path.read_bytes()
            folder = self.path.parent / SET_ASIDE
            folder.mkdir(exist_ok=True)
            self.path.replace(folder / self.path.name)
            return True
        return False

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def listed(folder: Path) -> list[Part]:
    """The parts of this version, in the order in which they were written."""
    named = ((path, _NAME.fullmatch(path.name)) for path in (folder.iterdir() if folder.is_dir() else ()))
    found = [Part(path, int(name[2]), int(name[3]), name[4]) for path, name in named if name and int(name[1]) == VERSION]
    return sorted(found, key=lambda part: (part.sequence, part.digest))


def write(folder: Path, rows: pl.DataFrame, sequence: int) -> Part:
    """A new part. Raises TryAgain where it cannot be written; then there is none."""
    buffer = io.BytesIO()
    try:
        rows.write_parquet(buffer, compression="zstd", compression_level=1, statistics=False)
        content = buffer.getvalue()
        digest = _digest(content)
        name = f"v{VERSION}-{sequence:010}-{rows.height}-{digest}.parquet"
        part = Part(folder / name, sequence, rows.height, digest)
        durable.write(part.path, content)
    except (OSError, PolarsError, PanicException) as error:
        raise TryAgain(f"{folder}: answers could not be stored ({durable.first_line(error)}); make room and run again") from None
    return part


@dataclass(frozen=True, slots=True)
class Rewritten:
    """`new`: parts that hold what the `old` ones do, `gone` rows less."""

    new: list[Part]
    old: list[Part]
    gone: int

    def remove_old(self) -> None:
        """The last step: a process that dies before it leaves answers twice, never none."""
        stay = {part.path for part in self.new}
        for part in self.old:
            if part.path not in stay:
                part.remove()


def rewrite(folder: Path, some: Sequence[Part], keep: pl.Expr | None = None) -> Rewritten:
    """Writes parts once more, as fewer: of equal keys the latest, only the rows that `keep` says. Call it under the store's lock."""
    read = [(part, part.rows()) for part in some if part.path.exists()]  # another run may have merged some
    for part, found in read:
        if found is None:
            part.set_aside()
    good = [(part, found) for part, found in read if found is not None]
    rows = pl.concat([found for _, found in good]) if good else pl.DataFrame(schema=SCHEMA)
    kept = (rows if keep is None else rows.filter(keep)).unique(["high", "low"], keep="last", maintain_order=True)
    last = max((part.sequence for part in some), default=0)
    new = [write(folder, kept.slice(start, FULL), last) for start in range(0, kept.height, FULL)]
    return Rewritten(new, [part for part, _ in good], rows.height - kept.height)


def merge(folder: Path, some: Sequence[Part], keep: pl.Expr | None = None) -> tuple[list[Part], int]:
    """Rewrites parts and removes the old ones. Returns the new parts and how many rows went. Call it under the store's lock."""
    done = rewrite(folder, some, keep)
    done.remove_old()
    return done.new, done.gone


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
