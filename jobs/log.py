"""The log for machines: a JSON object a line on stderr. It holds times, counts and names of this program, never the text of a review or
an answer.

Every line has `ts` (RFC 3339, UTC), `level` (info, warning, error), `event`, `run_id` and `date` (both null outside a run). The events,
with what else stands on their lines:

    started      command, inputs (their number)
    stage        message: what begins, in words that change between versions
    read         files, reviews or queries, restaurants, rejects, bytes, seconds
    loaded       seconds that the engine took to start; missing where nothing had to be asked
    planned      restaurants (or queries), prompt_tokens
    progress     finished and restaurants (or queries), answered_tokens and prompt_tokens, tokens_per_s, left_s; every 15 s
    warning      message
    committed    counts, tokens, seconds by phase, manifest, exit_code
    nothing_new  stands: the run id of the results that are up to date; manifest, exit_code
    failed       error: its name; exit_code; message, of an unexpected error `at` instead
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TextIO

from jobs.exit_codes import exit_code_of
from jobs.shareable import message_of

Event = Literal["started", "stage", "read", "loaded", "planned", "progress", "warning", "committed", "nothing_new", "failed"]
_LEVELS = {"warning": "warning", "failed": "error"}


class Log:
    """`as_json`: whether this is wanted; `quiet`: of it, warnings and errors. `run_id`, `date`: of the run, once there is one."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.as_json = self.quiet = False
        self.run_id: str | None = None
        self.date: str | None = None
        self._stream = stream

    def line(self, event: Event, **figures: Any) -> None:
        """Writes one line; where it is quiet, none below a warning. A log that cannot be written is no reason to lose a night's work."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        if self.quiet and event not in _LEVELS:
            return
        about = {"ts": moment, "level": _LEVELS.get(event, "info"), "event": event, "run_id": self.run_id, "date": self.date}
        with suppress(OSError, ValueError):
            print(json.dumps(about | figures), file=self._stream or sys.stderr, flush=True)

    def failed(self, error: BaseException) -> None:
        """The last line of a command that did not come to its end. Of an unexpected error the places in the code it came through."""
        message = message_of(error)
        more = {"at": _places(error)} if message is None else {"message": message}
        self.line("failed", error=type(error).__name__, exit_code=exit_code_of(error), **more)


def numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of a manifest, whatever stands beside them left out."""
    kept = {name: numbers(value) if isinstance(value, Mapping) else value for name, value in found.items()}
    return {name: value for name, value in kept.items() if isinstance(value, int | float | dict)}


def _places(error: BaseException) -> list[str]:
    return [f"{Path(one.filename).name}:{one.lineno} {one.name}" for one in traceback.extract_tb(error.__traceback__)]
