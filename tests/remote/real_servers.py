"""The real things on loopback: `vllm serve` with the embedded model, and our worker under RunPod's SDK's own server."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
START_S = 300
KEY = "loopback-key"
SEQUENCES = 32
SHARED = {"max_model_len": 4096, "max_num_seqs": SEQUENCES, "kv_cache_memory_bytes": 1 << 30}


@dataclass(frozen=True)
class Place:
    """`said`: what it writes. `kind` and `url` as the options have them."""

    kind: str
    url: str
    process: subprocess.Popen
    said: Path

    @property
    def options(self) -> list[str]:
        return ["--engine", self.kind, "--engine-url", self.url]

    def kill(self) -> None:
        """All of it: the engine is a process of its own."""
        os.killpg(self.process.pid, 9)
        self.process.wait()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


@contextmanager
def serving(kind: str, command: list[str], url: str, probe: str, folder: Path, packages: str, **environment: str) -> Iterator[Place]:
    """A server in a process group of its own, from the moment when something answers at `probe` to its end. `packages`: a folder of those
    that it needs beside this environment's."""
    import httpx2

    said = folder / f"{kind}.log"
    with said.open("ab") as log:
        path = os.pathsep.join([packages, *filter(None, [os.environ.get("PYTHONPATH")])])
        env = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "PYTHONPATH": path, **environment}
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
    place = Place(kind, url, process, said)
    try:
        end = time.monotonic() + START_S
        while True:
            assert process.poll() is None, said.read_text()[-4000:]
            assert time.monotonic() < end, f"{kind} did not start: {said.read_text()[-4000:]}"
            try:
                if httpx2.get(url + probe, timeout=5).status_code < 500:
                    break
            except httpx2.HTTPError:
                time.sleep(0.5)
        yield place
    finally:
        if process.poll() is None:
            place.kill()


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
