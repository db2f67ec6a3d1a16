"""Who holds a place in an object store: an object that is created once, renewed while its holder lives, and taken over when it has run out.

Nothing there goes away with a process, as a lock of the file system does, so holding has an end that is put off (Gray and Cheriton 1989,
"Leases: an efficient fault-tolerant mechanism for distributed file cache consistency", SOSP). It spares a second run its work; that only
one of two is committed does not hang on it, but on the condition of the commit itself (`bucket.py`).
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pipeline.errors import JobError, TryAgain
from pipeline.object_store import told

if TYPE_CHECKING:
    from obstore.store import ObjectStore

NAME = ".lease.json"
LEASE_S = 60.0
"""Until others may take it; it is renewed three times as often. As long as a run waits that follows one which was killed."""
Version = dict[str, str]
"""What a store calls one content of an object: its condition for "still the same"."""


def version_of(found: Mapping[str, Any]) -> Version:
    """From the result of a write or the head of a read."""
    return {name: found[name] for name in ("e_tag", "version") if found.get(name)}


class Lease:
    """Of one place, of one run. `folder`: names the folder where the run works, whose lock it holds: whoever held the lease from there is
    gone, and it is free at once."""

    def __init__(self, store: ObjectStore, where: str, folder: str) -> None:
        self._store, self._where, self._folder, self._seconds = store, where, folder, LEASE_S
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._version: Version = {}
        self._turn = threading.Lock()
        self._done = threading.Event()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Renewed by a thread meanwhile. Raises TryAgain where another run holds it, and names that run; BadConfiguration where nothing
        can be written."""
        self._take()
        renewing = threading.Thread(target=self._renew_until_done, name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._done.set()
            renewing.join()
            with suppress(JobError):  # it runs out by itself
                self._write(0.0)

    def confirm(self) -> None:
        """Renews it now. Raises TryAgain where another run has taken it."""
        if not self._write(self._seconds):
            raise TryAgain(f"{self._where}: another run has taken it over meanwhile, this one was not heard of in time; run again")

    def _take(self) -> None:
        found = self._read()
        while found is not None:
            holder, version = found
            left = float(holder.get("until", 0.0)) - time.time()
            if left > 0 and holder.get("folder") != self._folder:
                who = f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')}"
                raise TryAgain(
                    f"{self._where}: held by another run ({who}); wait for it or choose another --output "
                    f"(if it was killed, the place is free in {min(left, self._seconds):.0f} s)"
                )
            self._version = version
            if self._write(self._seconds):
                return
            found = self._read()  # somebody was faster
        if not self._write(self._seconds):
            self._take()

    def _renew_until_done(self) -> None:
        while not self._done.wait(self._seconds / 3):
            with suppress(JobError):  # the store may answer next time; the commit asks
                if not self._write(self._seconds):
                    return

    def _write(self, seconds: float) -> bool:
        """Whether it is this run's now: made where there is none, changed where it is as this run knows it."""
        from obstore import exceptions, put

        content = {
            "token": self._token,
            "folder": self._folder,
            "until": time.time() + seconds if seconds else 0.0,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": self._since,
        }
        with self._turn:
            try:
                with told(self._where, "cannot be held"):
                    made = put(self._store, NAME, json.dumps(content).encode(), mode=self._version or "create", use_multipart=False)
            except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
                found = self._read()  # an answer that was lost, and asked for again, fails on itself
                if found is None or found[0].get("token") != self._token:
                    return False
                self._version = found[1]
                return True
            self._version = version_of(made)
            return True

    def _read(self) -> tuple[Mapping[str, Any], Version] | None:
        from obstore import get

        try:
            with told(self._where, "cannot be read"):
                found = get(self._store, NAME)
                version, content = version_of(found.meta), bytes(found.bytes())
        except FileNotFoundError:
            return None
        try:
            holder = json.loads(content)
            float(holder.get("until", 0.0))
        except (ValueError, TypeError, AttributeError):  # whatever it is, nobody renews it
            holder = {}
        return holder, version
