"""An S3-compatible server on loopback that does what networks and servers do: break off, refuse, answer late, or see its client die."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

WRITES = ("PUT", "POST", "DELETE")
LONG_S = 35
"""The client waits for 30 s."""


@dataclass
class Fault:
    """What happens to requests of one of the `methods` whose path ends in `path`: to the first `times` of them after `skip`.

    `act`: `kill` or `freeze` the process group `pid`, `cut` the connection, `hang` longer than anybody waits, `refuse` with `status`, or do
    something, `then` answer; `after`: the store has done what it was asked.
    """

    act: str
    methods: tuple[str, ...] = WRITES
    path: str = ""
    skip: int = 0
    times: int = 1
    after: bool = False
    status: str = "503 Slow Down"
    pid: int = 0
    body: bytes = b"<Error><Code>SlowDown</Code></Error>"
    then: Callable[[], object] = lambda: None

    def meets(self, environ: dict[str, Any]) -> bool:
        """Counts as well."""
        if environ["REQUEST_METHOD"] not in self.methods or not environ["PATH_INFO"].endswith(self.path) or not self.times:
            return False
        if self.skip:
            self.skip -= 1
            return False
        self.times -= 1
        return True


@dataclass
class Server:
    """`requests`: method and path of each, in the order of arrival. `unconditional`: it does not heed conditions, as some do."""

    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    unconditional: bool = False

    def __post_init__(self) -> None:
        # Here, since vLLM on a CPU looks at every object of every module when it starts, and Flask has some that cannot be looked at.
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Silent(WSGIRequestHandler):
            def log(self, *_: object, **__: object) -> None: ...

        self._app = DomainDispatcherApplication(create_backend_app)
        self._turn = threading.Lock()
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Silent)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()

    def writes(self) -> list[tuple[str, str]]:
        """Requests that change something."""
        return [(method, path) for method, path in self.requests if method in WRITES]

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        with self._turn:
            self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
            fault = next((one for one in self.faults if one.meets(environ)), None)
        if self.unconditional:
            environ.pop("HTTP_IF_MATCH", None)
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if fault is None:
            return self._app(environ, start)
        if fault.act == "then":
            fault.then()
            return self._app(environ, start)
        if fault.act == "refuse":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start(fault.status, [("Content-Type", "application/xml")])
            return [fault.body]
        if fault.after:
            list(self._app(environ, lambda *_: None))
        elif fault.act == "cut":
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
        if fault.act == "hang":
            time.sleep(LONG_S)
        if fault.act == "kill":
            os.killpg(fault.pid, signal.SIGKILL)
        elif fault.act == "freeze":
            os.killpg(fault.pid, signal.SIGSTOP)
            time.sleep(0.2)
            return self._app(environ, start)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        raise ConnectionResetError("as asked")
