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
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pipeline import durable, results
from pipeline.errors import BadConfiguration, JobError, TryAgain
from pipeline.lease import Lease, Version, version_of
from pipeline.object_store import opened, told
from pipeline.places import Place, Run
from pipeline.results import CURRENT, MANIFEST, RUNS

NAME = ".name"
PIECE_BYTES = 8 << 20
"""Sent at once; of a larger file the run looks up between two of them."""


class Bucket:
    """What a URI names in a store."""

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._store = opened(self._uri)
        self._lease: Lease | None = None
        self._found: tuple[Mapping[str, Any], Version] | None = None

    def __str__(self) -> str:
        return self._uri

    @contextmanager
    def locked(self) -> Iterator[Path]:
        """On this machine by a lock of the file system, in the store by a lease."""
        with results.lock(_working_folder(self._uri), self._uri) as work:
            self._lease = Lease(self._store, self._uri, _name_of(work))
            with self._lease.held():
                self._found = self._pointer()
                try:
                    yield work
                finally:
                    shutil.rmtree(work / RUNS, ignore_errors=True)

    def committed(self) -> Run | None:
        found = self._pointer()
        if found is None:
            return None
        try:
            run = str(found[0]["run"])
            with told(self._uri, "cannot be read"):
                return f"{self._uri}/{run}", json.loads(_content(self._store, f"{run}/{MANIFEST}")[0])
        except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
            said = "no manifest there" if isinstance(error, FileNotFoundError) else str(error)
            raise BadConfiguration(
                f"{self._uri}/{CURRENT}: does not lead to a complete run ({said}); mend it or choose another --output"
            ) from None

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
        from obstore import exceptions, put

        if self._lease is None:
            raise RuntimeError("a run is published while its place is locked")
        self._lease.confirm()
        left = self._runs()  # whoever wrote them began before this commit, so theirs will fail, or has failed long ago
        before, version = self._found or ({}, {})
        pointer = {"run": f"{RUNS}/{run_id}", "previous": before.get("run")}
        content = (json.dumps(pointer, indent=2) + "\n").encode()
        try:
            with told(f"{self._uri}/{CURRENT}", "could not be written"):
                put(self._store, CURRENT, content, mode=version or "create", use_multipart=False)
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            there = self._pointer()  # an answer that was lost, and asked for again, fails on itself
            if there is None or there[0].get("run") != pointer["run"]:
                raise TryAgain(f"{self._uri}: another run was committed meanwhile, and this one was not; run again") from None
        self._remove(left - {Path(str(kept)).name for kept in pointer.values()})

    def _check_sizes(self, run_id: str, folder: Path) -> None:
        """Nothing is missing and nothing cut off. Raises TryAgain."""
        from obstore import list as listed

        with told(self._uri, "could not be listed"):
            there = {one["path"].rpartition("/")[2]: one["size"] for some in listed(self._store, f"{RUNS}/{run_id}") for one in some}
        for file in folder.iterdir():
            if there.get(file.name) != file.stat().st_size:
                raise TryAgain(f"{self._uri}/{RUNS}/{run_id}/{file.name}: did not arrive as it was sent; run again")

    def _pointer(self) -> tuple[Mapping[str, Any], Version] | None:
        try:
            with told(self._uri, "cannot be read"):
                content, version = _content(self._store, CURRENT)
        except FileNotFoundError:
            return None
        try:
            found = json.loads(content)
            if isinstance(found, dict):
                return found, version
        except ValueError:
            pass
        raise BadConfiguration(f"{self._uri}/{CURRENT}: is no pointer to a run; mend it or choose another --output")

    def _runs(self) -> set[str]:
        from obstore import list_with_delimiter

        with suppress(JobError), told(self._uri, "cannot be listed"):  # they are tidied up next time
            return {one.rstrip("/").rpartition("/")[2] for one in list_with_delimiter(self._store, RUNS)["common_prefixes"]}
        return set()

    def _remove(self, runs: set[str]) -> None:
        from obstore import delete
        from obstore import list as listed

        for run in runs:
            with suppress(JobError, FileNotFoundError), told(self._uri, "cannot be tidied up"):
                paths = [one["path"] for some in listed(self._store, f"{RUNS}/{run}") for one in some]
                # its manifest first: what is left of a run that is half gone is no run
                for path in sorted(paths, key=lambda path: not path.endswith(MANIFEST)):
                    delete(self._store, path)


def _content(store: Any, path: str) -> tuple[bytes, Version]:
    from obstore import get

    found = get(store, path)
    return bytes(found.bytes()), version_of(found.meta)


def _pieces(file: Path, check: Callable[[], None]) -> Iterator[bytes]:
    with file.open("rb") as opened_file:
        while piece := opened_file.read(PIECE_BYTES):
            check()
            yield piece


def _working_folder(uri: str) -> Path:
    """Where this user's runs for this URI work: one after another, so that what a killed one has left is found. Of a day's partition beside
    the other days'. Raises BadConfiguration where that is another user's."""
    base, _, name = uri.rpartition("/")
    base, day = (base, name) if name.startswith("dt=") else (uri, "")
    own = Path(tempfile.gettempdir()) / f"review-digest-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    there = own.lstat()
    if not stat.S_ISDIR(there.st_mode) or there.st_uid != os.getuid() or there.st_mode & 0o077:
        raise BadConfiguration(f"{own}: belongs to others or is open to them; remove it, or set TMPDIR to a folder of your own")
    return own / hashlib.blake2b(base.encode(), digest_size=8).hexdigest() / day


def _name_of(work: Path) -> str:
    """Of a folder, the same for every run that works in it, and no other folder's on any machine."""
    path = work / NAME
    if not path.exists():
        durable.write(path, secrets.token_hex(16).encode())
    return path.read_text()
