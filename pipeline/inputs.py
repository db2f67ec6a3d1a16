"""Which files a run reads, whether they can be trusted before they are read, and whether they stayed what they were."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BadData, NoInput, TryAgain
from pipeline.footer import Untrue, check_ratio, read_footer
from pipeline.pages import check_pages
from pipeline.printable import printable
from pipeline.store_inputs import is_listed, objects, stamp
from pipeline.uris import is_uri, keep_out_secrets

_GLOB = re.compile(r"[*?\[]")

VALUE_BYTES = 16
"""What Polars keeps for a value beside its text: a view of it."""


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file of a dump. `size` in bytes; `digest` (blake2b, 128 bits) of a local one, `e_tag` of one in an object store, which names
    versions itself. None where nobody tells."""

    path: str
    size: int | None = None
    digest: str | None = None
    e_tag: str | None = None


def find(inputs: Sequence[str]) -> list[str]:
    """Files behind names, globs and directories (searched below for `*.parquet`), sorted within each, no file twice under any name.

    Below a directory, names that begin with `_` or `.` are other tools' scratch places, as in Spark, and left out.

    Behind an object-store URI files are found alike; one that cannot be listed passes unchanged, and Polars expands it. Raises NoInput for
    a name with nothing behind it, BadConfiguration for a URI with credentials in it: it would stand in manifests and logs.
    """
    if not inputs:
        raise NoInput("no input is named; name files, a glob or a directory that holds *.parquet")
    found: dict[str, str] = {}
    for name in inputs:
        if not name.strip():
            raise NoInput("an input's name is empty; is a variable unset?")
        if is_uri(name):
            keep_out_secrets(name)
            found |= {one: one for one in (objects(name) if is_listed(name) else [name])}
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
            raise NoInput(f"{printable(name)}: no such file or directory; check the path")
        if not matches:
            raise NoInput(f"{printable(name)}: no Parquet file found there; name files, a glob or a directory that holds *.parquet")
        for match in matches:
            found.setdefault(str(match.resolve()), str(match))
    return list(found.values())


def _below(folder: Path) -> list[Path]:
    files = (p for p in folder.rglob("*.parquet") if p.is_file())
    return sorted(p for p in files if not any(part.startswith(("_", ".")) and "=" not in part for part in p.relative_to(folder).parts))


def is_remote(path: str) -> bool:
    """Whether a path is an object-store URI."""
    return is_uri(path)


def check(path: str, wanted: Collection[str]) -> int:
    """The bytes that reading the columns `wanted` of a local file takes: its pages uncompressed, and a view for each value.

    Raises BadData where the file is no Parquet, is encrypted, is cut off, names a column twice, or makes promises that cannot be true.
    Files in object stores are not looked at and count as 0.
    """
    if is_remote(path):
        return 0
    try:
        with Path(path).open("rb") as file:
            footer = read_footer(file)
            twice = next((name for name, times in Counter(footer.columns).items() if times > 1), None)
            if twice is not None:  # even one that is not read: Polars reads no such file
                raise Untrue(f"has more than one column '{printable(twice)}'", "rename or drop the others")
            chunks = [chunk for chunk in footer.chunks if chunk.column in wanted]
            uncompressed = sum(check_pages(file, chunk) for chunk in chunks)
            check_ratio("its pages", uncompressed, footer.size)
    except Untrue as error:
        raise BadData(f"{printable(path)}: {error}") from None
    except OSError as error:
        raise _unreadable(path, error) from None
    return uncompressed + VALUE_BYTES * sum(chunk.values for chunk in chunks)


@contextmanager
def unchanged(paths: Sequence[str]) -> Iterator[None]:
    """Raises TryAgain at the end, and in place of BadData, where a file was written, replaced or removed meanwhile; of those in an object
    store only such as can be listed are looked at."""
    before = {path: _stamp(path) for path in paths if not is_remote(path) or is_listed(path)}
    problem = None
    try:
        yield
    except BadData as error:
        problem = error
    for path, then in before.items():
        if then is None or _stamp(path) != then:
            raise TryAgain(f"{printable(path)}: changed while it was read; wait until it is written and run again") from None
    if problem is not None:
        raise problem


def _stamp(path: str) -> tuple[int | str, ...] | None:
    """What changes when a file is written or replaced: size, time of change, inode, or e-tag. None where it is gone."""
    if is_remote(path):
        return stamp(path)
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def describe(path: str) -> InputFile:
    """Size and what tells its content, for the manifest."""
    if is_remote(path):
        size, e_tag = (is_listed(path) and stamp(path)) or (None, None)
        return InputFile(path, size, e_tag=e_tag)
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
            return InputFile(path, file.tell(), digest)
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str, error: OSError) -> BadData:
    return BadData(f"{printable(path)}: cannot be read ({printable(error.strerror)}); check its permissions and its disk")
