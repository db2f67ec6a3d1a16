"""Keeps what other libraries print out of the terminal, from C++ too, and hands it out when something went wrong."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def quiet(verbose: bool = False) -> Iterator[Callable[[], str]]:
    """While open, file descriptors 1 and 2 lead to a scratch file (unless `verbose`); yields a function that returns its last 64 KiB.

    The function still answers afterwards: a process started meanwhile has inherited the file and goes on writing there.
    """
    if verbose:
        yield lambda: ""
        return
    kept = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the function that reads it
    saved = [os.dup(1), os.dup(2)]

    def said() -> str:
        size = os.fstat(kept.fileno()).st_size
        return os.pread(kept.fileno(), 1 << 16, max(size - (1 << 16), 0)).decode(errors="replace")

    def lead(targets: list[int]) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, target in zip((1, 2), targets, strict=True):
            os.dup2(target, number)

    try:
        lead([kept.fileno()] * 2)
        yield said
    finally:
        lead(saved)
        for copy in saved:
            os.close(copy)
