"""Keeps what other libraries print out of the terminal, from C++ too, and hands it out when something went wrong."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def quiet(verbose: bool = False) -> Iterator[Callable[[], str]]:
    """While open, file descriptors 1 and 2 lead to a scratch file (unless `verbose`); yields a function that returns what it holds."""
    if verbose:
        yield lambda: ""
        return
    with tempfile.TemporaryFile() as kept:
        saved = [os.dup(1), os.dup(2)]

        def said() -> str:
            kept.seek(0)
            return kept.read().decode(errors="replace")

        try:
            os.dup2(kept.fileno(), 1)
            os.dup2(kept.fileno(), 2)
            yield said
        finally:
            for number, copy in zip((1, 2), saved, strict=True):
                os.dup2(copy, number)
                os.close(copy)
