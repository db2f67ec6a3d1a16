"""The real things on loopback: `vllm serve` with the embedded model, and our worker under RunPod's SDK's own server."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_S, STOP_S = 300, 20
KEY = "loopback-key"
SEQUENCES = 32
SHARED = {"max_model_len": 4096, "max_num_seqs": SEQUENCES, "kv_cache_memory_bytes": 1 << 30}


@dataclass
class Place:
    """A server in a process group of its own: its engine is a process, too. `kind` and `url` as the options have them; `probe`: a path
    where something answers once it is there; `packages`: a folder of those that it needs beside this environment's; `log`: what it
    writes."""

    kind: str
    url: str
    command: Sequence[str]
    probe: str
    packages: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def start(self) -> None:
        """Returns when it answers; where it was before, if it was somewhere."""
        import httpx2

        path = os.pathsep.join([self.packages, *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": path, **self.environment}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True)
        end = time.monotonic() + START_S
        while True:
            assert self.process.poll() is None, self.said[-4000:]
            assert time.monotonic() < end, f"{self.kind} did not start: {self.said[-4000:]}"
            try:
                if httpx2.get(self.url + self.probe, timeout=5).status_code < 500:
                    return
            except httpx2.HTTPError:
                time.sleep(0.5)

    def kill(self) -> None:
        """All of it, with SIGKILL."""
        self._end(signal.SIGKILL, None)

    def stop(self) -> None:
        """As a person does it, so that no shared memory stays."""
        try:
            self._end(signal.SIGTERM, STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def _end(self, number: int, wait_s: float | None) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)
            self.process.wait(wait_s)


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def arguments(options: Mapping[str, object]) -> list[str]:
    """Arguments of `vllm serve` for those of vllm.LLM."""
    found: list[str] = []
    for name, value in options.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            found.append(f"--{option}" if value else f"--no-{option}")
        else:
            found += [f"--{option}", json.dumps(value) if isinstance(value, dict) else str(value)]
    return found
