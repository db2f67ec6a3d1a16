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

from pipeline.errors import BadConfiguration, JobError, TryAgain
from pipeline.object_store import change, opened, read, write

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion

NAME = ".lease.json"
LEASE_S = 60.0
"""Until others may take it; it is renewed three times as often. As long as a run waits that follows one which was killed."""
RELEASING_S = 5.0
"""For giving it back: it runs out by itself."""


class Lease:
    """Of one place, of one run. `folder`: names the folder where the run works, whose lock it holds: whoever held the lease from there is
    gone, and it is free at once."""

    def __init__(self, uri: str, folder: str) -> None:
        self._where, self._folder, self._seconds = uri, f"{socket.gethostname()}:{folder}", LEASE_S
        self._store = opened(uri)
        self._token = secrets.token_hex(8)
        self._since = datetime.now(UTC).isoformat(timespec="seconds")
        self._version: UpdateVersion | None = None
        self._turn = threading.Lock()
        self._done = threading.Event()
        self._lost = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Renewed by a thread meanwhile. Raises TryAgain where another run holds it, and names that run; BadConfiguration where nothing
        can be written, or where the store does not heed conditions."""
        while not self._take():
            pass  # somebody was faster, or gave it back
        self._check_conditions()
        renewing = threading.Thread(target=self._renew_until_done, name="lease", daemon=True)
        renewing.start()
        try:
            yield
        finally:
            self._done.set()
            renewing.join(timeout=1)  # it may wait for an answer; the process does not
            self._give_back()

    def confirm(self) -> None:
        """Renews it now. Raises TryAgain where another run has taken it."""
        self._lost = self._lost or not self._renew()
        self.check()

    def check(self) -> None:
        """Raises TryAgain where another run is known to have taken it. Asks nobody."""
        if self._lost:
            raise TryAgain(f"{self._where}: another run has taken it over meanwhile, this one was not heard of in time; run again")

    def _take(self) -> bool:
        """Whether it is this run's now."""
        there = read(self._store, self._where, NAME)
        self._version = there and there[1]
        holder = _holder(there[0]) if there else {}
        left = float(holder.get("until", 0.0)) - time.time()
        if left > 0 and holder.get("folder") != self._folder:
            who = f"process {holder.get('process')} on {holder.get('host')}, since {holder.get('since')}"
            free = f"the place is free in {left:.0f} s" if left <= self._seconds else f"its clock is not this machine's: remove {NAME}"
            raise TryAgain(f"{self._where}: held by another run ({who}); wait for it or choose another --output (if it was killed, {free})")
        return self._write(self._seconds)

    def _check_conditions(self) -> None:
        """A store that takes any write would let two runs commit. Raises BadConfiguration."""
        from obstore import exceptions

        passed: list[PutMode] = ["create", *([self._version] if self._version else [])]
        self._renew()
        for mode in passed:
            with suppress(exceptions.AlreadyExistsError, exceptions.PreconditionError):
                write(self._store, self._where, NAME, self._content(self._seconds), mode=mode)
                raise BadConfiguration(f"{self._where}: this store does not heed conditions (If-Match); results cannot be committed there")

    def _renew(self) -> bool:
        """Also where somebody removed it meanwhile, who is not another run."""
        if self._write(self._seconds):
            return True
        there = read(self._store, self._where, NAME)
        if there is not None and _holder(there[0]).get("token") != self._token:
            return False
        self._version = there and there[1]
        return self._write(self._seconds)

    def _renew_until_done(self) -> None:
        while not self._done.wait(self._seconds / 3):
            with suppress(JobError):  # the store may answer next time; the commit asks
                self._lost = not self._renew()
                if self._lost:
                    return

    def _give_back(self) -> None:
        from obstore import exceptions

        if self._version and self._turn.acquire(timeout=0):
            with suppress(JobError, exceptions.AlreadyExistsError, exceptions.PreconditionError):
                write(opened(self._where, RELEASING_S), self._where, NAME, self._content(0.0), mode=self._version)
            self._turn.release()

    def _write(self, seconds: float) -> bool:
        """Whether it was as this run knows it, and now is this run's."""
        with self._turn:
            version = change(self._store, self._where, NAME, self._content(seconds), self._version)
            self._version = version or self._version
            return version is not None

    def _content(self, seconds: float) -> bytes:
        about: Mapping[str, Any] = {
            "token": self._token,
            "folder": self._folder,
            "until": time.time() + seconds if seconds else 0.0,
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": self._since,
        }
        return json.dumps(about).encode()


def _holder(content: bytes) -> Mapping[str, Any]:
    """Nobody, where it is no lease: whatever it is, nobody renews it."""
    try:
        found = json.loads(content)
        float(found.get("until", 0.0))
    except (ValueError, TypeError, AttributeError):
        return {}
    return dict(found)
