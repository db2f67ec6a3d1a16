"""Results in an object store, where nothing can be renamed: the commit is one write of `current.json` on the condition that it is what this
run found at its start."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import durable, results
from pipeline.errors import BadConfiguration, JobError, TryAgain, cannot_write
from pipeline.lease import Lease
from pipeline.object_store import change, opened, read
from pipeline.places import Folder, Place, Run
from pipeline.results import CURRENT, MANIFEST, RUNS
from pipeline.store_errors import told

if TYPE_CHECKING:
    from obstore import UpdateVersion

NAME = ".name"
PIECE_BYTES = 8 << 20
"""Sent or fetched at once; of a larger file the run looks up between two of them."""


class Bucket:
    """What a URI names in a store."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._store = opened(self._uri)
        self._lease: Lease | None = None
        self._found: tuple[Mapping[str, Any], UpdateVersion] | None = None

    def __str__(self) -> str:
        return self._uri

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """On this machine by a lock of the file system, in the store by a lease."""
        with results.lock(_working_folder(self._uri), self._uri) as work:
            self._lease = Lease(self._uri, _name_of(work))
            with self._lease.held():
                self._found = self._pointer()
                self._tidy()
                try:
                    yield work
                finally:
                    shutil.rmtree(work / RUNS, ignore_errors=True)

    def check(self) -> None:
        if self._lease:
            self._lease.check()

    def committed(self) -> Run | None:
        found = self._pointer()
        if found is None:
            return None
        try:
            run = str(found[0]["run"])
            there = read(self._store, self._uri, f"{run}/{MANIFEST}")
            if there is None:
                raise ValueError("no manifest there")
            return f"{self._uri}/{run}", json.loads(there[0])
        except (ValueError, KeyError, TypeError) as error:
            raise BadConfiguration(
                f"{self._uri}/{CURRENT}: does not lead to a complete run ({error}); mend it or choose another --output"
            ) from None

    def has_run(self, run_id: str) -> bool:
        return run_id in self._runs()

    def other_days(self) -> Iterator[Place]:
        from obstore import list_with_delimiter

        base, _, name = self._uri.rpartition("/")
        if not name.startswith("dt="):
            return
        with told(base, "cannot be listed"):
            there = [prefix.rstrip("/").rpartition("/")[2] for prefix in list_with_delimiter(opened(base))["common_prefixes"]]
        for day in sorted(there, reverse=True):
            if day.startswith("dt=") and day != name:
                yield Bucket(f"{base}/{day}")

    def fetched(self, run: Folder, names: Collection[str], into: Path) -> Path:
        from obstore import get

        inside = str(run).removeprefix(f"{self._uri}/")
        shutil.rmtree(into, ignore_errors=True)  # of another day
        into.mkdir()
        for name in names:
            with suppress(FileNotFoundError), told(f"{run}/{name}", "cannot be read"):  # whoever reads it says that it is missing
                found = get(self._store, f"{inside}/{name}")
                with (into / name).open("wb") as file:
                    for piece in found.stream(min_chunk_size=PIECE_BYTES):
                        file.write(piece)
        return into

    def deliver(self, run_id: str, folder: Path, check: Callable[[], None]) -> str:
        from obstore import put

        for file in sorted(folder.iterdir(), key=lambda one: (one.name == MANIFEST, one.name)):
            check()
            path = f"{RUNS}/{run_id}/{file.name}"
            with told(f"{self._uri}/{path}", "could not be written"):
                content = file.read_bytes() if file.stat().st_size <= PIECE_BYTES else _pieces(file, check)
                put(self._store, path, content, chunk_size=PIECE_BYTES)
        self._check_sizes(run_id, folder)
        return f"{self._uri}/{RUNS}/{run_id}"

    def publish(self, run_id: str) -> None:
        if self._lease is None:
            raise RuntimeError("a run is published while its place is locked")
        self._lease.confirm()
        before, version = self._found or ({}, None)
        pointer = {"run": f"{RUNS}/{run_id}", "previous": before.get("run")}
        left = self._runs() - _named(pointer)  # whoever wrote them began before this commit, so theirs will fail, or has failed long ago
        if change(self._store, self._uri, CURRENT, _json(pointer), version) is None:
            there = self._pointer()
            if there is None or there[0].get("previous") != pointer["run"]:  # which another run has followed already
                raise TryAgain(f"{self._uri}: another run was committed meanwhile, and this one was not; run again")
        self._remove(left)

    def _tidy(self) -> None:
        """Removes what runs that died have left. One that only seems dead must not be committed after that: the pointer is written anew, so
        that it is not what that run has found."""
        if self._found is None or not (left := self._runs() - _named(self._found[0])):
            return
        pointer = {**self._found[0], "tidied": secrets.token_hex(4)}
        version = change(self._store, self._uri, CURRENT, _json(pointer), self._found[1])
        if version is None:
            raise TryAgain(f"{self._uri}: another run was committed at this moment; run again")
        self._found = pointer, version
        self._remove(left)

    def _check_sizes(self, run_id: str, folder: Path) -> None:
        """Nothing is missing and nothing cut off. Raises TryAgain."""
        from obstore import list as listed

        with told(self._uri, "could not be listed"):
            there = {one["path"].rpartition("/")[2]: one["size"] for some in listed(self._store, f"{RUNS}/{run_id}") for one in some}
        for file in folder.iterdir():
            if there.get(file.name) != file.stat().st_size:
                raise TryAgain(f"{self._uri}/{RUNS}/{run_id}/{file.name}: did not arrive as it was sent; run again")

    def _pointer(self) -> tuple[Mapping[str, Any], UpdateVersion] | None:
        there = read(self._store, self._uri, CURRENT)
        if there is None:
            return None
        with suppress(ValueError):
            found = json.loads(there[0])
            if isinstance(found, dict):
                return found, there[1]
        raise BadConfiguration(f"{self._uri}/{CURRENT}: is no pointer to a run; mend it or choose another --output")

    def _runs(self) -> set[str]:
        """Ids of the runs there, committed or not. Other tools keep things called `runs`, too."""
        from obstore import list_with_delimiter

        with told(self._uri, "cannot be listed"):
            names = {one.rstrip("/").rpartition("/")[2] for one in list_with_delimiter(self._store, RUNS)["common_prefixes"]}
        return set(filter(results.is_run_id, names))

    def _remove(self, runs: Collection[str]) -> None:
        from obstore import delete
        from obstore import list as listed

        for run in runs:
            with suppress(JobError, FileNotFoundError), told(self._uri, "cannot be tidied up"):  # next time, then
                paths = [one["path"] for some in listed(self._store, f"{RUNS}/{run}") for one in some]
                # its manifest first: what is left of a run that is half gone is no run
                for path in sorted(paths, key=lambda path: not path.endswith(MANIFEST)):
                    delete(self._store, path)


def _json(pointer: Mapping[str, Any]) -> bytes:
    return (json.dumps(pointer, indent=2) + "\n").encode()


def _named(pointer: Mapping[str, Any]) -> set[str]:
    """Ids of the runs that readers may be at."""
    return {Path(str(pointer[name])).name for name in ("run", "previous") if pointer.get(name)}


def _pieces(file: Path, check: Callable[[], None]) -> Iterator[bytes]:
    with file.open("rb") as opened_file:
        while piece := opened_file.read(PIECE_BYTES):
            check()
            yield piece


def _working_folder(uri: str) -> Path:
    """Where this user's runs for this URI work: one after another, so that what a killed one has left is found. Of a day's partition beside
    the other days'. Raises BadConfiguration where that is another user's, or cannot be."""
    base, _, name = uri.rpartition("/")
    base, day = (base, name) if name.startswith("dt=") else (uri, "")
    own = Path(tempfile.gettempdir()) / f"review-digest-{os.getuid()}"
    there = own / hashlib.blake2b(base.encode(), digest_size=8).hexdigest() / day
    try:
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise BadConfiguration(f"{own}: belongs to others or is open to them; remove it, or set TMPDIR to a folder of your own")
        there.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(f"{there}: a run for {uri} cannot work there", error, "set TMPDIR to a folder with room") from None
    return there


def _name_of(work: Path) -> str:
    """Of a folder, the same for every run that works in it, and no other folder's on any machine."""
    path = work / NAME
    try:
        if not path.exists():
            durable.write(path, secrets.token_hex(16).encode())
        return path.read_text()
    except OSError as error:
        raise cannot_write(f"{path}: cannot be written", error, "set TMPDIR to a folder with room") from None
