"""Things set aside in a file until they are needed: in memory while they are few, then on the disk."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import durable
from pipeline.errors import TryAgain

IN_MEMORY = 16 << 20
"""Bytes that are not in a file yet."""


class Aside:
    """Goes with the process, and so does its file."""

    def __init__(self, what: str, folder: Path | None = None) -> None:
        """`what`: is set aside, for the error. `folder`: for the file; the system's own for such files where it is None."""
        self._what = what
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115
        self._end = 0

    def put(self, thing: Any) -> int:
        """Its place, to take it up again, as often as wanted. Raises TryAgain."""
        place, data = self._end, pickle.dumps(thing, pickle.HIGHEST_PROTOCOL)
        with self._on_disk():
            self._file.seek(place)
            self._file.write(data)
        self._end += len(data)
        return place

    def at(self, place: int) -> Any:
        """What was put there. Raises TryAgain."""
        with self._on_disk():
            self._file.seek(place)
            return pickle.load(self._file)

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise TryAgain(f"{self._what} could not be set aside ({durable.first_line(error)}); make room and run again") from None
