"""The worker of a RunPod serverless endpoint: `python -m jobs.runpod_worker` is the command of its container.

It answers the jobs of `analyze --engine runpod` with an engine in this process. On a machine of one's own RunPod's SDK serves the same over
HTTP: `python -m jobs.runpod_worker --rp_serve_api --rp_api_port 8000`, then `analyze --engine runpod --engine-url http://localhost:8000`.
Its options are the SDK's; what to run comes from the environment, as an endpoint is configured.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import BadConfiguration, JobError
from pipeline.machine import MODEL_CACHE, local_machine
from pipeline.printable import printable
from pipeline.remote.served import PROBE, Served
from pipeline.remote.worker import Worker
from pipeline.tokens import Tokens

VARIABLES = {
    "REVIEW_DIGEST_WORKER_MODEL": "'embedded', a Hugging Face name or a folder",
    "REVIEW_DIGEST_WORKER_DEVICE": "cpu or gpu, detected when not given",
    "REVIEW_DIGEST_WORKER_ENGINE_OPTIONS": "arguments of vllm.LLM as a JSON object",
    "REVIEW_DIGEST_WORKER_MODEL_CACHE": "where the prepared embedded model is kept",
}
JOBS_AT_ONCE = 16
"""That a worker takes: requests of all of them share one batch, and wait in one queue by rank."""


def main() -> None:
    """Serves until it is ended. Exits with the code of a JobError."""
    try:
        worker = make_worker(*(os.environ.get(name) or None for name in VARIABLES))
        if "RUNPOD_DEBUG_LEVEL" not in os.environ:
            os.environ.setdefault("RUNPOD_LOG_LEVEL", "INFO")  # the SDK's own DEBUG writes every answer into the log
        try:
            import runpod
        except ImportError as error:
            raise BadConfiguration(f"RunPod's SDK cannot be imported ({error}); see README, 'An engine elsewhere'") from None
    except JobError as error:
        print(f"error: {printable(error, 2000)}", file=sys.stderr)
        sys.exit(error.exit_code)
    runpod.serverless.start({"handler": worker.handle, "concurrency_modifier": lambda _: JOBS_AT_ONCE})


def make_worker(model: str | None, device: str | None, options: str | None, cache: str | None) -> Worker:
    """A worker whose engine is loaded. Texts as in VARIABLES; raises BadConfiguration."""
    machine = local_machine(
        model,
        _device(device),
        engine_options=_options(options),
        model_cache=Path(cache) if cache else MODEL_CACHE,
        tell=lambda what: print(what, file=sys.stderr, flush=True),
    )
    found = machine.model()
    served = Served(found.name, found.name, machine.max_model_len, found.revision, machine.answer_settings)
    return Worker(lambda: machine.engine(found), served, Tokens(found.folder).part(PROBE).tolist())


def _device(text: str | None) -> Any:
    if text not in (None, "cpu", "gpu"):
        raise BadConfiguration(f"REVIEW_DIGEST_WORKER_DEVICE={text}: there are cpu and gpu")
    return text


def _options(text: str | None) -> dict[str, Any]:
    try:
        options = json.loads(text or "{}")
    except ValueError:
        options = None
    if not isinstance(options, dict) or "trust_remote_code" in options:
        raise BadConfiguration('REVIEW_DIGEST_WORKER_ENGINE_OPTIONS: has to be a JSON object like {"max_model_len": 8192}, of safe options')
    return options


if __name__ == "__main__":
    main()
