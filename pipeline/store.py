"""Answers already paid for, by content: resume, reuse, dedupe.

An answer's key is a digest of the engine's identity (model, revision, the settings that change answers) and of the request's own key
(prompt ids, sampling, form). Good answers alone are kept. New ones are written every second as a small part (parts.py) by a thread, so that
a process that is killed loses what finished since; small parts are merged now and then. Lookups go through an index in memory
(key_index.py) to the parts that hold something, so a store in which nothing is found costs next to nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Protocol

import polars as pl
from filelock import FileLock, Timeout

from pipeline import parts, upkeep, usage
from pipeline.errors import JobError, TryAgain, cannot_write
from pipeline.packing import pack
from pipeline.parts import Part
from pipeline.records import Answer, Request
from pipeline.stored import Begun, StoredAnswers, stored_key
from pipeline.suspects import Suspect
from pipeline.upkeep import ANSWERS, LOCK, MANY_PARTS

FLUSH_S = 1.0
MOST_UNWRITTEN = 1 << 16
"""Answers that wait, beside as many that are being written: a disk slower than the engine holds the engine up, and memory is bounded."""
RECENT = 1 << 14
"""Answers that stay in memory when they are written, those asked for again the longest: what many guests say is asked often."""


class Answers(Protocol):
    """What the loop needs of a store."""

    def find(self, keys: Sequence[str]) -> Iterator[Answer]: ...
    def add(self, request: Request, answer: Answer) -> None: ...
    def deaths(self, key: str) -> int: ...


class Forgetful:
    """A store that knows nothing and keeps nothing."""

    def find(self, keys: Sequence[str]) -> Iterator[Answer]:
        return iter(())

    def add(self, request: Request, answer: Answer) -> None: ...

    def deaths(self, key: str) -> int:
        return 0


class Store(StoredAnswers):
    """One folder, opened by one run; any number of runs may add to it at once. As a context it writes what is left when it closes."""

    def __init__(self, folder: Path, identity: str, warn: Callable[[str], None] = lambda _: None, fresh: bool | Begun = False) -> None:
        """`identity`: hexadecimal digest of what answers depend on beside their request. `fresh`: answers of earlier runs are not served,
        and new ones replace them (`Begun`: those from before that). Raises BadConfiguration where the folder cannot be written, TryAgain
        where the disk is full."""
        try:
            (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
            with suppress(Timeout), FileLock(folder / LOCK, timeout=0):  # else another run is merging
                upkeep.compact(folder / ANSWERS)
        except OSError as error:
            raise cannot_write(f"{folder}: answers cannot be stored there", error, "choose another --store or --no-store") from None
        self._buffer: dict[str, tuple[Request, Answer]] = {}
        self._writing: dict[str, tuple[Request, Answer]] = {}
        self._flushing = threading.Lock()  # held while files are written, which the loop does not wait for; before the mutex where both are
        self._recent: OrderedDict[str, Answer] = OrderedDict()
        self._own: list[Part] = []
        self._failure: JobError | None = None
        self._scratch = folder
        super().__init__(folder, identity, warn, fresh)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_flushing, name="store", daemon=True)
        self._thread.start()

    def find(self, keys: Sequence[str]) -> Iterator[Answer]:
        """Those that are not yet written, or still in memory, too."""
        with self._mutex, self._measured():
            held = {key: answer for key in keys if (answer := self._held(key))}
            self._counts.looked_up += len(held)
            self._counts.served += len(held)
        yield from held.values()
        yield from super().find([key for key in keys if key not in held] if held else keys)

    def _held(self, key: str) -> Answer | None:
        if found := self._buffer.get(key) or self._writing.get(key):
            return found[1]
        if answer := self._recent.get(key):
            self._recent.move_to_end(key)
        return answer

    def add(self, request: Request, answer: Answer) -> None:
        """Keeps a good answer; a failed or cut-off one is asked again next time. Raises TryAgain where earlier ones were not written."""
        if self._failure is not None:
            raise self._failure
        if answer.usable:
            with self._mutex:
                self._buffer[request.key] = request, answer
            if len(self._buffer) >= MOST_UNWRITTEN:
                self.flush()

    def suspect(self, requests: Sequence[Request]) -> None:
        """Notes that an engine died with these requests inside. Raises TryAgain."""
        self._suspects.mark((stored_key(self._identity, request.key).hex(), request.restaurant_id) for request in requests)

    def mark(self, suspects: Sequence[Suspect]) -> None:
        """Notes a death that somebody else has seen. Raises TryAgain."""
        self._suspects.mark(suspects)

    def know(self, suspects: Sequence[Suspect]) -> None:
        """Counts deaths that somebody else has noted."""
        self._suspects.know(suspects)

    def flush(self) -> None:
        """Writes what is not yet written. Raises TryAgain; then it is still held."""
        with self._flushing, self._measured():
            with self._mutex:
                self._writing, self._buffer = self._writing | self._buffer, {}  # a signal may have ended an earlier flush anywhere
            try:
                if self._writing:
                    self._write()
            finally:
                with self._mutex:
                    self._buffer = self._writing | self._buffer
                    self._writing = {}
            if len(self._own) >= MANY_PARTS or sum(part.height for part in self._own) >= parts.FULL:
                small, self._own = self._own, []
                with suppress(Timeout), FileLock(self.folder / LOCK, timeout=0):
                    self._merge(small)

    def _write(self) -> None:
        self._sequence += 1
        packed = pack({stored_key(self._identity, key): pair for key, pair in self._writing.items()})
        part = parts.write(self._answers, packed, self._sequence)
        rows = self._read_back(part)
        with self._mutex:
            self._enter(part, rows)
            self._counts.added += part.height
            self._recent.update((key, answer) for key, (_, answer) in self._writing.items())
            self._writing = {}
            while len(self._recent) > RECENT:
                self._recent.popitem(last=False)

    def _merge(self, small: list[Part]) -> None:
        """Nobody looks into the old parts while they go."""
        merged = parts.rewrite(self._answers, small)
        read = [(part, self._read_back(part)) for part in merged.new]
        with self._mutex:
            for part, rows in read:
                self._enter(part, rows)
            merged.remove_old()
            self._cache.drop(part.digest for part in small)

    def close(self) -> None:
        """Writes what is left. Raises TryAgain."""
        self._closing.set()
        self._thread.join()
        self.flush()
        usage.note(self.folder, self._counts)

    @property
    def counts(self) -> dict[str, float]:
        """Looked up, served, added; processor seconds inside this store."""
        return asdict(self._counts)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.close()
        except TryAgain:
            if error is None:  # the first error tells more
                raise

    def _keep_flushing(self) -> None:
        while not self._closing.wait(FLUSH_S):
            try:
                self.flush()
            except JobError as error:
                self._failure = error
                return

    def _pass_over(self, part: Part) -> None:
        what = "is damaged and was set aside" if part.set_aside() else "cannot be used and stays where it is"
        self._warn(f"{part.path}: {what}; its answers are asked for again")

    @staticmethod
    def _read_back(part: Part) -> pl.DataFrame | None:
        """Keys of a part that has just been written; None where another run has merged it already."""
        try:
            rows = part.rows("high")
        except FileNotFoundError:
            return None
        if rows is None:
            raise TryAgain(f"{part.path}: could not be read back; check the disk and run again")
        return rows

    def _enter(self, part: Part, rows: pl.DataFrame | None) -> None:
        if rows is None:
            self._index()
            return
        self._keys.add((rows["high"].to_numpy(), len(self._parts)))
        self._parts.append(part)
        if not part.full:
            self._own.append(part)
