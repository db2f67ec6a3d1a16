"""HTTP servers on loopback that answer like a vLLM server or a RunPod endpoint, without a model, and that can be made to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.remote.served import PROBE
from pipeline.remote.worker import Worker

REVIEWED = '["Dish was fine"]'


@dataclass(frozen=True)
class Call:
    """`number`: of calls with such a body to such a path so far, this one included."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]
    number: int
    at: float


@dataclass(frozen=True)
class Fault:
    """What happens in place of an answer: `status` with a body that is no JSON unless it says so; `cut`: half the answer, then the end of
    the connection; `drop`: its end alone. `delay_s` comes before everything, an answer that is given after all included."""

    status: int | None = None
    body: str = "<html>no</html>"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    drop: bool = False
    delay_s: float = 0.0


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_: object) -> None: ...  # who asked is gone; a test says what it expected


class Loopback:
    """`calls` so far, `faults` among them; `most_at_once`: posted calls that were being answered together."""

    def __init__(self, respond: Callable[[Call], tuple[int, Any]], fault: Callable[[Call], Fault | None] = lambda call: None) -> None:
        self.calls: list[Call] = []
        self.fault, self.faults, self.most_at_once = fault, 0, 0
        self._respond, self._at_once, self._lock = respond, 0, threading.Lock()
        self._numbers: Counter[str] = Counter()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.handle(self)

            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *_: object) -> None: ...

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def to(self, path: str) -> list[Call]:
        """Calls to paths that begin so."""
        return [call for call in self.calls if call.path.startswith(path)]

    def handle(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length") or 0)
        text = handler.rfile.read(length).decode()
        with self._lock:
            self._numbers[name := f"{handler.path} {text}"] += 1
            body = json.loads(text) if text else None
            call = Call(handler.command, handler.path, body, dict(handler.headers), self._numbers[name], time.monotonic())
            self.calls.append(call)
            self._at_once += handler.command == "POST"
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self._answer(handler, call)
        except OSError:  # who asked is gone
            handler.close_connection = True
        finally:
            with self._lock:
                self._at_once -= handler.command == "POST"

    def _answer(self, handler: BaseHTTPRequestHandler, call: Call) -> None:
        fault = self.fault(call) or Fault()
        self.faults += fault != Fault()
        time.sleep(fault.delay_s)
        if fault.drop:
            handler.close_connection = True
            return
        status, said = (fault.status, fault.body) if fault.status else self._respond(call)
        content = (said if isinstance(said, str) else json.dumps(said)).encode()
        handler.send_response(status)
        for name, value in {**fault.headers, "Content-Length": str(len(content))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if fault.cut else content)
        handler.close_connection = handler.close_connection or fault.cut


def as_vllm(probe: list[int], model: str = "embedded", **card: Any) -> Callable[[Call], tuple[int, Any]]:
    """Answers of a vLLM server, the same for the same question. `probe`: ids of PROBE."""

    def respond(call: Call) -> tuple[int, Any]:
        if call.path == "/v1/models":
            return 200, {"data": [{"id": model, "root": model, "max_model_len": 4096, **card}]}
        if call.path != "/v1/completions":
            return 404, {"detail": "Not Found"}
        return 200, completion(call.body, probe)

    return respond


def completion(asked: Mapping[str, Any], probe: list[int]) -> dict[str, Any]:
    ids = probe if asked["prompt"] == PROBE else asked["prompt"]
    form = {name: asked[name] for name in ("allowed_token_ids", "structured_outputs", "max_tokens") if name in asked}
    number = int(hashlib.sha256(json.dumps([ids, form]).encode()).hexdigest()[:8], 16)
    choice: dict[str, Any] = {"index": 0, "text": f"- fact {number} of these guests\n- another fact {number + 1}", "finish_reason": "stop"}
    tokens = 12
    if "json" in asked.get("structured_outputs", {}):
        choice["text"] = REVIEWED
    if chosen := asked.get("logprob_token_ids"):
        top = {f"token_id:{one}": -1.0 - number / 2**32 * (place + 1) for place, one in enumerate(chosen)}
        choice |= {"text": " happy", "finish_reason": "length", "logprobs": {"top_logprobs": [top]}}
        tokens = 1
    usage = {"prompt_tokens": len(ids), "completion_tokens": tokens, "prompt_tokens_details": {"cached_tokens": len(ids) // 2}}
    metrics = {"queue_time_ms": 5.0, "time_to_first_token_ms": 20.0, "generation_time_ms": 40.0 if tokens > 1 else 0.0}
    return {"choices": [choice | {"prompt_token_ids": ids}], "usage": usage, "metrics": metrics}


def as_runpod(worker: Worker, polls: int = 1, post_only: bool = False) -> Callable[[Call], tuple[int, Any]]:
    """Answers of an endpoint with this worker, which is asked at the first poll after `polls` others. `post_only`: as the SDK's local
    server has it for `/status`."""
    jobs: dict[str, Any] = {}
    asked: Counter[str] = Counter()

    def respond(call: Call) -> tuple[int, Any]:
        _, what, *name = call.path.split("/")
        if what == "run":
            jobs[job := f"job-{len(jobs)}"] = call.body
            return 200, {"id": job, "status": "IN_QUEUE"}
        if what == "cancel":
            jobs.pop(name[0], None)
            return 200, {"id": name[0], "status": "CANCELLED"}
        if what != "status":
            return 404, {"error": "no such route"}
        if post_only and call.method == "GET":
            return 405, {"detail": "Method Not Allowed"}
        asked[name[0]] += 1
        if asked[name[0]] <= polls:
            return 200, {"id": name[0], "status": "IN_QUEUE"}
        if name[0] not in jobs:
            return 200, {"id": name[0], "status": "FAILED", "error": "Job ID not found"}
        output = asyncio.run(worker.handle({"id": name[0], **jobs[name[0]]}))
        if "error" in output:
            return 200, {"id": name[0], "status": "FAILED", "error": output["error"]}
        return 200, {"id": name[0], "status": "COMPLETED", "output": output}

    return respond
