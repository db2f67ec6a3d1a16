"""Whole runs with the embedded model elsewhere: over a proxy that delays, cuts and refuses, and with a server that is killed."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
from loopback import Fault, Loopback
from real_servers import KEY, ROOT

from pipeline.upkeep import describe

pytestmark = pytest.mark.remote
RUN_S = 900
RESTAURANTS = {"openai": 7, "runpod": 4}
IN_FLIGHT = 32
ANSWERED, PROBES = 180, 2
"""Answers after which the server is killed, about 120 of them about anchor reviews, and those of a start among them."""


def command(output: Path, kind: str, url: str) -> list[str]:
    dump = [str(ROOT / "data/sample/reviews.parquet"), "--limit", str(RESTAURANTS[kind]), "--output", str(output)]
    where = ["--engine", kind, "--engine-url", url, "--model", "embedded", "--in-flight", str(IN_FLIGHT)]
    return [sys.executable, "-m", "jobs", "analyze", *dump, *where]


def analyze(output: Path, kind: str, url: str, key: str = KEY) -> subprocess.CompletedProcess:
    environment = {**os.environ, "REVIEW_DIGEST_ENGINE_KEY": key}
    return subprocess.run(command(output, kind, url), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False)


def table(output: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet((output / "current").resolve() / f"{name}.parquet")


def manifest(output: Path) -> dict:
    return json.loads((output / "current" / "manifest.json").read_text())


def through(url: str):
    """Hands a call on to this address, and its answer back."""
    import httpx2

    client = httpx2.Client(base_url=url, timeout=600, limits=httpx2.Limits(max_connections=None))

    def respond(call):
        headers = {name: value for name, value in call.headers.items() if name in ("Authorization", "Content-Type")}
        content = json.dumps(call.body).encode() if call.body is not None else None
        answer = client.request(call.method, call.path, content=content, headers=headers)
        return answer.status_code, answer.text

    return respond


def unsteady(seed: int):
    """Every fifth call or so goes wrong somehow, drawn anew at each try."""
    kinds = [
        Fault(status=429, headers={"Retry-After": "0"}),
        Fault(status=500),
        Fault(status=503, headers={"Retry-After": "1"}),
        Fault(cut=True),
        Fault(drop=True),
        Fault(delay_s=0.5),
    ]
    chance = random.Random(seed)
    return lambda call: chance.choice(kinds) if chance.random() < 0.2 else None


@pytest.fixture(scope="module")
def straight(vllm, tmp_path_factory):
    """The reviews and statuses of a run on vLLM's server with nothing in between."""
    output = tmp_path_factory.mktemp("straight") / "out"
    done = analyze(output, vllm.kind, vllm.url)
    assert done.returncode == 0, done.stderr
    return output


def test_a_proxy_that_delays_cuts_and_refuses_costs_no_restaurant(place, straight, tmp_path):
    with Loopback(through(place.url), unsteady(7)) as proxy:
        crooked = analyze(tmp_path / "crooked", place.kind, proxy.url)
        assert crooked.returncode == 0, crooked.stderr
        assert proxy.faults > len(proxy.calls) // 10
    assert KEY not in crooked.stderr
    assert table(tmp_path / "crooked", "restaurants").height == RESTAURANTS[place.kind]
    assert set(table(tmp_path / "crooked", "requests")["status"]) <= {"ok", "cut_off"}  # at the end of its tokens
    if place.kind == "openai":
        assert manifest(tmp_path / "crooked")["counts"]["restaurants"] == manifest(straight)["counts"]["restaurants"]
    names = ["restaurant_id", "review_id"]
    reviews = table(tmp_path / "crooked", "reviews").join(table(straight, "reviews"), on=names, validate="1:1")
    assert reviews.height == table(tmp_path / "crooked", "reviews").height
    same = reviews["sentiment"].eq_missing(reviews["sentiment_right"]).sum()  # none where the model does not read the language
    assert same >= 0.99 * reviews.height
    assert reviews["sentiment"].null_count() < reviews.height / 2


def test_a_server_that_is_killed_costs_only_what_was_inside(vllm, straight, tmp_path):
    environment = {**os.environ, "REVIEW_DIGEST_ENGINE_KEY": KEY}
    before = answered(vllm)
    with (tmp_path / "said").open("wb") as said:
        run = subprocess.Popen(command(tmp_path / "out", vllm.kind, vllm.url), cwd=ROOT, env=environment, stdout=said, stderr=said)
    try:
        end = time.monotonic() + RUN_S
        while answered(vllm) - before < ANSWERED:
            assert run.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        vllm.kill()
        assert run.wait(RUN_S) == 75, (tmp_path / "said").read_text()
    finally:
        run.kill()
        vllm.kill()
        paid_for = answered(vllm) - before - PROBES
        vllm.start()
    assert not (tmp_path / "out" / "current").exists()
    kept = stored(tmp_path / "out")
    assert 0 <= paid_for - kept <= IN_FLIGHT  # said by the server and not yet heard when it died
    before = answered(vllm)
    done = analyze(tmp_path / "out", vllm.kind, vllm.url)
    assert done.returncode == 0, done.stderr
    assert manifest(tmp_path / "out")["counts"]["restaurants"] == manifest(straight)["counts"]["restaurants"]
    assert table(tmp_path / "out", "restaurants")["restaurant_id"].is_unique().all()
    new = stored(tmp_path / "out") - kept
    cut_off = table(tmp_path / "out", "requests").filter(status="cut_off").height  # an answer that is not kept
    assert answered(vllm) - before - PROBES == new + cut_off > 0  # nothing was asked that was known


def stored(output: Path) -> int:
    """Answers in the store."""
    return describe(output.with_name(f"{output.name}.store"))["answers"]


def answered(place) -> int:
    """Completions that vLLM's server has written into its log."""
    return place.said.count('"POST /v1/completions HTTP/1.1" 200')


def test_a_wrong_key_ends_a_run_before_it_begins(vllm, tmp_path):
    done = analyze(tmp_path / "out", vllm.kind, vllm.url, key="another-key")
    assert done.returncode == 78
    assert "REVIEW_DIGEST_ENGINE_KEY" in done.stderr
    assert "another-key" not in done.stderr
