"""Files that are there whole or not at all, also after the power went."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any


def write(path: Path, content: bytes, scratch: str | None = None) -> None:
    """Beside the target, under the name `scratch` (one writer at a time) or one of this process's own, then renamed over it.

    Raises OSError; then the target is as before."""
    beside = path.with_name(scratch or f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            beside.unlink()
        raise


def write_json(path: Path, content: Any, scratch: str | None = None) -> None:
    """Readable JSON with a last line break."""
    write(path, (json.dumps(content, indent=2, ensure_ascii=False, default=str) + "\n").encode(), scratch)


def sync(path: Path) -> None:
    """Returns when a file's content is on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Returns when a folder's entries are on the disk."""
    with suppress(OSError):  # some network file systems cannot; the rename itself is done
        sync(path)


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
