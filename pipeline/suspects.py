"""Requests that were inside an engine when it died. One of them may be the reason: each is tried once more, alone and last, then given up.

One small file per death, so that many runs can write at once.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Collection, Iterable
from pathlib import Path

from pipeline import durable
from pipeline.errors import TryAgain

MOST_DEATHS = 2
Suspect = tuple[str, str]
"""Key of a request in the store, and its restaurant."""
GIVEN_UP = f"the engine died {MOST_DEATHS} times with this request inside; it is left out (`store forget` tries it again)"


class Suspects:
    """Deaths by key. Files that cannot be read count nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._deaths = Counter(entry[0] for file in _files(folder) for entry in _entries(file))

    def __len__(self) -> int:
        """Requests that an engine has died of, or may have."""
        return len(self._deaths)

    def deaths(self, key: str) -> int:
        """How many engines died with this request inside."""
        return self._deaths[key]

    def know(self, entries: Iterable[Suspect]) -> None:
        """Counts deaths that somebody else has noted, an entry for each; those that are noted here already may be among them."""
        for key, number in Counter(key for key, _ in entries).items():
            self._deaths[key] = max(self._deaths[key], number)

    def mark(self, entries: Iterable[Suspect]) -> None:
        """One death more for each (key, restaurant_id). Raises TryAgain where the folder cannot be written."""
        listed = list(entries)
        self._deaths.update(key for key, _ in listed)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            durable.write_json(self._folder / f"{secrets.token_hex(8)}.json", listed)
        except OSError as error:
            raise TryAgain(f"{self._folder}: suspects could not be noted ({error.strerror}); make room and run again") from None


def forget(folder: Path, restaurants: Collection[str]) -> int:
    """Takes the requests of these restaurants off all lists, and those that a calibration asked for nobody; how many there were."""
    gone = 0
    for file in _files(folder):
        entries = _entries(file)
        kept = [entry for entry in entries if entry[1] and entry[1] not in restaurants]
        gone += len(entries) - len(kept)
        if kept:
            durable.write_json(file, kept)
        else:
            file.unlink(missing_ok=True)
    return gone


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json")) if folder.is_dir() else []


def _entries(file: Path) -> list[tuple[str, str]]:
    try:
        return [(str(key), str(restaurant)) for key, restaurant in json.loads(file.read_text())]
    except (OSError, ValueError, TypeError):
        return []
