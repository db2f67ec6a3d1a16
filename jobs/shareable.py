"""What may be said of a run to programs that many people read: log collectors, catalogues. Never the text of a review or an answer."""

from __future__ import annotations

import re

from jobs.masking import masked
from pipeline.errors import JobError, Stopped
from pipeline.printable import printable

MOST_SHOWN = 500
"""Characters of a message."""
_DETAILS = re.compile(r"\(.*\)", re.DOTALL)


def shareable(message: str) -> str:
    """A message of this program in one line, without secrets and without what stands in brackets: there a message quotes others (the names
    of a dump's columns, a library's words), and where a dump was made from a file without a header, its columns are called like reviews."""
    return printable(masked(_DETAILS.sub("(...)", message)), MOST_SHOWN)


def message_of(error: BaseException) -> str | None:
    """Of an error that a person can act on; None of every other one, whose words are anybody's."""
    said = getattr(error, "format_message", None)  # of click's errors
    if said is not None:
        return shareable(said())
    return shareable(str(error)) if isinstance(error, JobError | Stopped) else None
