"""Events about a run for a catalogue of data, where OpenLineage is configured (https://openlineage.io/docs/client/python/configuration).

They are sent beside the run, on a thread of their own: an endpoint that hangs costs WAIT_S at the end of a run and nothing before.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from jobs.observed import End, Run

if TYPE_CHECKING:
    from openlineage.client.event_v2 import RunEvent

WAIT_S = 5.0
"""At the end of a run, for events that are not answered yet."""


class NotSent(Exception):
    """The catalogue may not know of this run."""


def configured(environment: Mapping[str, str]) -> bool:
    """Whether the client would find a place to send to: an address, a transport in the environment, or a file where it looks for one."""
    if environment.get("OPENLINEAGE_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OPENLINEAGE_URL") or any(name.startswith("OPENLINEAGE__TRANSPORT__") for name in environment):
        return True
    places: list[str | Path] = [
        environment.get("OPENLINEAGE_CONFIG", ""),
        "openlineage.yml",
        Path.home() / ".openlineage" / "openlineage.yml",
    ]
    return any(Path(place).is_file() for place in places)


class Lineage:
    """Sends START when a run begins, and COMPLETE, FAIL or ABORT when it has ended."""

    def __init__(self) -> None:
        self._events: SimpleQueue[Callable[[], RunEvent] | None] = SimpleQueue()
        self._sender = threading.Thread(target=self._send, name="lineage", daemon=True)
        self._problem: str | None = None

    def began(self, run: Run) -> None:
        self._events.put(partial(_start, run))
        self._sender.start()

    def ended(self, run: Run, end: End) -> None:
        """Raises NotSent where an event was refused or is not answered in time; what the client said of it may name addresses and keys,
        so only the kind of its error is told."""
        self._events.put(partial(_end, run, end))
        self._events.put(None)
        self._sender.join(WAIT_S)
        if self._sender.is_alive():
            raise NotSent(f"the endpoint did not answer within {WAIT_S:g} s of the end, the catalogue may miss this run")
        if self._problem:
            raise NotSent(f"{self._problem}, the catalogue may miss this run")

    def _send(self) -> None:
        """Until there is no more to come. The client is imported here, too: that takes a while, and the run need not wait for it."""
        try:
            from openlineage.client import OpenLineageClient

            with _silent():
                client = OpenLineageClient()
                for event in iter(self._events.get, None):
                    try:
                        client.emit(event())
                    except Exception as error:  # START may be refused and COMPLETE accepted
                        self._problem = f"an event was not accepted ({type(error).__name__})"
                client.close(WAIT_S)
        except ImportError:
            self._problem = "openlineage-python cannot be imported, install the extra 'lineage' or set OPENLINEAGE_DISABLED=true"
        except Exception as error:
            self._problem = f"the client cannot be set up ({type(error).__name__}), check its configuration"


def _start(run: Run) -> RunEvent:
    from jobs.lineage_events import start

    return start(run)


def _end(run: Run, ended: End) -> RunEvent:
    from jobs.lineage_events import end

    return end(run, ended)


@contextmanager
def _silent() -> Iterator[None]:
    """Nothing that this thread has to say of connections and retries is logged; OPENLINEAGE_CLIENT_LOGGING still turns on the client's."""
    here = threading.get_ident()

    def from_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    connections = logging.getLogger("urllib3.connectionpool")
    logging.getLogger("openlineage").setLevel(logging.CRITICAL)
    connections.addFilter(from_elsewhere)
    try:
        yield
    finally:
        connections.removeFilter(from_elsewhere)
