"""Answers already paid for, by content: resume, reuse, dedupe.

An answer's key is a digest of the engine's identity (model, revision, the settings that change answers) and of the request's own key
(prompt ids, sampling, form). Good answers alone are kept. New ones are written every second as a small part (parts.py) by a thread, so that
a process that is killed loses what finished since; small parts are merged now and then. Lookups go through an index in memory
(key_index.py) to the parts that hold something, so a store in which nothing is found costs next to nothing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from filelock import FileLock, Timeout

from pipeline import parts, upkeep, usage
from pipeline.errors import JobError, TryAgain, cannot_write
from pipeline.packing import pack
from pipeline.parts import Part
from pipeline.records import Answer, Request
from pipeline.stored import StoredAnswers, stored_key
from pipeline.upkeep import ANSWERS, LOCK, MANY_PARTS

FLUSH_S = 1.0
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

    def __init__(self, folder: Path, identity: str, warn: Callable[[str], None] = lambda _: None, fresh: bool = False) -> None:
        """`identity`: hexadecimal digest of what answers depend on beside their request. `fresh`: answers of earlier runs are not served,
        new ones replace them. Raises BadConfiguration where the folder cannot be written, TryAgain where the disk is full."""
        try:
            (folder / ANSWERS).mkdir(parents=True, exist_ok=True)
            with suppress(Timeout), FileLock(folder / LOCK, timeout=0):  # else another run is merging
                upkeep.compact(folder / ANSWERS)
        except OSError as error:
            raise cannot_write(f"{folder}: answers cannot be stored there", error, "choose another --store or --no-store") from None
        self._buffer: dict[bytes, tuple[Request, Answer]] = {}
        self._recent: OrderedDict[bytes, Answer] = OrderedDict()
        self._own: list[Part] = []
        self._failure: JobError | None = None
        self._scratch = folder
        super().__init__(folder, identity, warn, fresh)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_flushing, name="store", daemon=True)
        self._thread.start()

    @property
    def _knows_any(self) -> bool:
        return bool(self._buffer) or super()._knows_any

    def _find(self, wanted: Mapping[bytes, str]) -> Iterator[Answer]:
        """Those that are not yet written, or still in memory, too."""
        with self._mutex, self._counts.measured():
            held = {stored: answer for stored in wanted if (answer := self._held(stored))}
            self._counts.served += len(held)
        yield from (replace(answer, key=wanted[stored]) for stored, answer in held.items())
        yield from super()._find({stored: key for stored, key in wanted.items() if stored not in held} if held else wanted)

    def _held(self, stored: bytes) -> Answer | None:
        if found := self._buffer.get(stored):
            return found[1]
        if answer := self._recent.get(stored):
            self._recent.move_to_end(stored)
        return answer

    def add(self, request: Request, answer: Answer) -> None:
        """Keeps a good answer; a failed or cut-off one is asked again next time. Raises TryAgain where earlier ones were not written."""
        if self._failure is not None:
            raise self._failure
        if answer.usable:
            began = time.thread_time()
            with self._mutex:
                self._buffer[stored_key(self._identity, request.key)] = request, answer
                self._counts.added += 1
                self._counts.cpu_s += time.thread_time() - began

    def suspect(self, requests: Sequence[Request]) -> None:
        """Notes that an engine died with these requests inside. Raises TryAgain."""
        self._suspects.mark((stored_key(self._identity, request.key).hex(), request.restaurant_id) for request in requests)

    def flush(self) -> None:
        """Writes what is not yet written. Raises TryAgain; then it is still held."""
        with self._mutex, self._counts.measured():
            if self._buffer:
                self._sequence += 1
                self._enter(parts.write(self._answers, pack(self._buffer), self._sequence))
                self._recent.update((stored, answer) for stored, (_, answer) in self._buffer.items())
                self._buffer = {}
                while len(self._recent) > RECENT:
                    self._recent.popitem(last=False)
            if len(self._own) >= MANY_PARTS or sum(part.height for part in self._own) >= parts.FULL:
                small, self._own = self._own, []
                with suppress(Timeout), FileLock(self.folder / LOCK, timeout=0):
                    for part in parts.merge(self._answers, small)[0]:
                        self._enter(part)
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
        self._warn(f"warning: {part.path}: {what}; its answers are asked for again")

    def _enter(self, part: Part) -> None:
        try:
            rows = part.rows("high")
        except FileNotFoundError:  # another run has merged it already
            self._index()
            return
        if rows is None:
            raise TryAgain(f"{part.path}: could not be read back; check the disk and run again")
        self._keys.add((rows["high"].to_numpy(), len(self._parts)))
        self._parts.append(part)
        if not part.full:
            self._own.append(part)
