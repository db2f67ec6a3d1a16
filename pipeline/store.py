"""Answers already paid for, by content: resume, reuse, dedupe.

An answer's key is a digest of the engine's identity (model, revision, the settings that change answers) and of the request's own key
(prompt ids, sampling, form). Good answers alone are kept. New ones are written every second as a small part (parts.py) by a thread, so that
a process that is killed loses what finished since; small parts are merged now and then. Lookups go through an index in memory
(key_index.py) to the parts that hold something, so a store in which nothing is found costs next to nothing.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt
import polars as pl
from filelock import FileLock, Timeout

from pipeline import parts, upkeep, usage
from pipeline.errors import BadConfiguration, JobError, TryAgain
from pipeline.key_index import KeyIndex
from pipeline.packing import WANTED, pack, unpack
from pipeline.parts import Part
from pipeline.records import Answer, Request
from pipeline.suspects import Suspects
from pipeline.upkeep import ANSWERS, LOCK, MANY_PARTS, SUSPECTS

FLUSH_S = 1.0
AT_ONCE = 128
"""Answers made at once: few enough that Python's garbage collector does not set out, which took a fifth of a large lookup."""
READERS = 2
"""Parts read at once: digest and Parquet work outside Python's lock."""
CACHED_BYTES = 256 << 20
"""Of parts held in memory for lookups; a run asks in about the order in which an earlier one has answered."""


def stored_key(identity: bytes, key: str) -> bytes:
    """128 bits under which the answer to a request is kept; `identity`: 128 bits."""
    return hashlib.blake2b(identity + bytes.fromhex(key), digest_size=16).digest()


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


class Store:
    """One folder, opened by one run; any number of runs may add to it at once. As a context it writes what is left when it closes."""

    def __init__(self, folder: Path, identity: str, warn: Callable[[str], None] = lambda _: None, fresh: bool = False) -> None:
        """`identity`: hexadecimal digest of what answers depend on beside their request. `fresh`: answers of earlier runs are not served,
        new ones replace them. Raises BadConfiguration where the folder cannot be written."""
        self.folder = folder
        self._answers = folder / ANSWERS
        self._identity = bytes.fromhex(identity)
        self._warn = warn
        try:
            self._answers.mkdir(parents=True, exist_ok=True)
            with suppress(Timeout), FileLock(folder / LOCK, timeout=0):  # else another run is merging
                upkeep.compact(self._answers)
        except OSError as error:
            raise BadConfiguration(
                f"{folder}: answers cannot be stored there ({error.strerror}); choose another --store or --no-store"
            ) from None
        self._suspects = Suspects(folder / SUSPECTS)
        self._mutex = threading.RLock()
        self._cache_lock = threading.Lock()
        self._cache: OrderedDict[int, pl.DataFrame] = OrderedDict()
        self._buffer: dict[bytes, tuple[Request, Answer]] = {}
        self._own: list[Part] = []
        self._counts = usage.Counts()
        self._failure: JobError | None = None
        self._sequence = max((part.sequence for part in parts.listed(self._answers)), default=0)
        self._after = self._sequence if fresh else -1
        self._index()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep_flushing, name="store", daemon=True)
        self._thread.start()

    def find(self, keys: Sequence[str]) -> Iterator[Answer]:
        """The stored answers among these, in any order, each under the request's key."""
        with self._mutex, self._counts.measured():
            self._counts.looked_up += len(keys)
            wanted = {stored_key(self._identity, key): key for key in keys} if len(self._keys) or self._buffer else {}
            held = [replace(self._buffer[own][1], key=wanted.pop(own)) for own in list(wanted) if own in self._buffer]
            names = list(wanted.values())
            frames = self._matching(list(wanted)) if wanted else []
        self._counts.served += len(held) + sum(frame.height for frame in frames)
        yield from held
        for some in (some for frame in frames for some in frame.iter_slices(AT_ONCE)):
            with self._counts.measured():
                found = unpack(names, some)
            yield from found

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

    def deaths(self, key: str) -> int:
        """How many engines died with this request inside."""
        return self._suspects.deaths(stored_key(self._identity, key).hex())

    def suspect(self, requests: Sequence[Request]) -> None:
        """Notes that an engine died with these requests inside. Raises TryAgain."""
        self._suspects.mark((stored_key(self._identity, request.key).hex(), request.restaurant_id) for request in requests)

    def flush(self) -> None:
        """Writes what is not yet written. Raises TryAgain; then it is still held."""
        with self._mutex, self._counts.measured():
            if self._buffer:
                self._sequence += 1
                self._enter(parts.write(self._answers, pack(self._buffer), self._sequence))
                self._buffer = {}
            if len(self._own) >= MANY_PARTS:
                small, self._own = self._own, []
                with suppress(Timeout), FileLock(self.folder / LOCK, timeout=0):
                    for part in parts.merge(self._answers, small)[0]:
                        self._enter(part)

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

    def _index(self) -> None:
        """Reads the keys of all parts and checks every part against its digest."""
        self._parts: list[Part] = []
        self._keys = KeyIndex()
        self._cache.clear()
        entries = []
        listed = [part for part in parts.listed(self._answers) if part.sequence > self._after]
        try:
            with ThreadPoolExecutor(READERS) as readers:
                read = list(readers.map(lambda part: part.rows("high"), listed))
        except FileNotFoundError:  # merged since it was listed; what was in it may stand in a part that was not listed
            return self._index()
        for part, rows in zip(listed, read, strict=True):
            if rows is None:
                self._warn(f"warning: {part.path}: is damaged and was set aside; its answers are asked for again")
                part.set_aside()
                continue
            entries.append((rows["high"].to_numpy(), len(self._parts)))
            self._parts.append(part)
        self._keys.add(*entries)
        return None

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

    def _matching(self, own: Sequence[bytes]) -> list[pl.DataFrame]:
        """Rows with these keys and each one's `place` among them, a frame per part."""
        halves = np.frombuffer(b"".join(own), dtype="<u8").reshape(-1, 2)
        while True:
            numbers = self._keys.find(halves[:, 0])
            hit = np.unique(numbers[numbers >= 0]).tolist()
            try:
                with ThreadPoolExecutor(READERS) as readers:
                    read = readers.map(self._rows, hit)
                    return [_joined(rows, halves, np.flatnonzero(numbers == number)) for number, rows in zip(hit, read, strict=True)]
            except FileNotFoundError:  # another run has merged or pruned parts meanwhile
                self._index()

    def _rows(self, number: int) -> pl.DataFrame:
        with self._cache_lock:
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
        rows = self._parts[number].rows(*WANTED)
        if rows is None:
            raise FileNotFoundError  # damaged since it was opened: listing again sets it aside
        with self._cache_lock:
            self._cache[number] = rows
            while len(self._cache) > 1 and sum(frame.estimated_size() for frame in self._cache.values()) > CACHED_BYTES:
                self._cache.popitem(last=False)
        return rows


def _joined(rows: pl.DataFrame, halves: npt.NDArray[np.uint64], places: npt.NDArray[np.intp]) -> pl.DataFrame:
    wanted = pl.DataFrame({"high": halves[places, 0], "low": halves[places, 1], "place": places})
    return rows.join(wanted, on=["high", "low"]).select("place", *WANTED[2:])
