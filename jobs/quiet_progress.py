"""What a run says where nobody watches: nothing as long as all is well."""

from __future__ import annotations

import sys
from typing import TextIO

from pipeline.job import Silent
from pipeline.printable import printable

MOST_SHOWN = 1_000
"""Characters of a warning: one line, whatever it quotes."""


class QuietProgress(Silent):
    """Warnings only, a line each: whoever reads them reads a mail, and it says what a person should look at."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream

    def warn(self, what: str) -> None:
        print(f"warning: {printable(what, MOST_SHOWN)}", file=self._stream, flush=True)

    def close(self) -> None:
        """There is no bar."""
