"""Which files a run reads, and whether they can be trusted before anything in them is read.

A Parquet footer is a promise by whoever wrote it. It is checked against the file's own size, so that a damaged or hostile file ends in
an error with its name, not in a crash of the reader or in all memory asked for at once.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BadData, NoInput

# Text compresses 3 to 10 times, a constant column a few thousand times, but then it is small. Above both limits the footer lies.
MOST_UNCOMPRESSED_RATIO = 2_000
ALWAYS_ALLOWED_BYTES = 1 << 30

_GLOB = re.compile(r"[*?\[]")
_URI = re.compile(r"^[a-z][a-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a dump. `size` in bytes and `digest` (blake2b, 128 bits) are None for object stores, which name versions themselves."""

    path: str
    size: int | None = None
    digest: str | None = None


def find(inputs: Sequence[str]) -> list[str]:
    """Files behind names, globs and directories (searched below for `*.parquet`), sorted within each, no file twice under any name.

    Below a directory, names that begin with `_` or `.` are other tools' scratch places, as in Spark, and left out.

    Object-store URIs pass unchanged; Polars expands them. Raises NoInput for a name with nothing behind it.
    """
    found: dict[str, str] = {}
    for name in inputs:
        if not name.strip():
            raise NoInput("an input's name is empty; is a variable unset?")
        if _URI.match(name):
            found[name] = name
            continue
        path = Path(name)
        if path.is_file():
            matches = [path]
        elif path.is_dir():
            matches = _below(path)
        elif _GLOB.search(name):
            anchor = Path(path.anchor) if path.is_absolute() else Path()
            matched = sorted(anchor.glob(str(path.relative_to(anchor))))
            matches = [file for p in matched for file in ([p] if p.is_file() else _below(p))]
        else:
            raise NoInput(f"{name}: no such file or directory; check the path")
        if not matches:
            raise NoInput(f"{name}: no Parquet file found there; name files, a glob or a directory that holds *.parquet")
        for match in matches:
            found.setdefault(str(match.resolve()), str(match))
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*.parquet") if p.is_file())
    return sorted(p for p in files if not any(part.startswith(("_", ".")) and "=" not in part for part in p.relative_to(folder).parts))


def is_remote(path: str) -> bool:
    """Whether a path is an object-store URI."""
    return bool(_URI.match(path))


def check_footer(path: str) -> None:
    """Raises BadData where a local file is no Parquet, is cut off, or its footer cannot be true for its size."""
    if is_remote(path):
        return
    size = Path(path).stat().st_size
    try:
        footer = pq.read_metadata(path)
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
    except PermissionError:
        raise BadData(f"{path}: may not be read; check its permissions") from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadData(f"{path}: is not Parquet or is damaged ({_first_line(error)}); write it again or leave it out") from None
    rows = sum(group.num_rows for group in groups)
    compressed = sum(group.column(i).total_compressed_size for group in groups for i in range(group.num_columns))
    uncompressed = sum(group.total_byte_size for group in groups)
    wrong = None
    if rows != footer.num_rows or any(group.num_rows < 0 for group in groups):
        wrong = f"promises {footer.num_rows:,} rows, its row groups hold {rows:,}"
    elif compressed > size:
        wrong = f"promises {compressed:,} bytes of data in a file of {size:,} bytes"
    elif uncompressed > max(ALWAYS_ALLOWED_BYTES, MOST_UNCOMPRESSED_RATIO * size):
        wrong = f"promises {uncompressed:,} bytes out of a file of {size:,} bytes"
    elif rows > max(1 << 20, 1_000 * size):
        wrong = f"promises {rows:,} rows in a file of {size:,} bytes"
    if wrong:
        raise BadData(f"{path}: its footer {wrong}; the file is damaged, write it again or leave it out")


def stamp(path: str) -> tuple[int, int, int] | None:
    """What changes when a local file is written or replaced: size, time of change, inode."""
    if is_remote(path):
        return None
    found = Path(path).stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def describe(path: str) -> InputFile:
    """Size and content digest, for the manifest."""
    if is_remote(path):
        return InputFile(path)
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    return InputFile(path, Path(path).stat().st_size, digest)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
