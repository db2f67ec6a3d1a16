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
from real_servers import KEY, ROOT, free_port

pytestmark = pytest.mark.remote
RUN_S = 900
RESTAURANTS = 11


def command(output: Path, place, *more: str) -> list[str]:
    dump = [str(ROOT / "data/sample/reviews.parquet"), "--limit", str(RESTAURANTS), "--output", str(output)]
    return [sys.executable, "-m", "jobs", "analyze", *dump, "--model", "embedded", "--in-flight", "32", *place, *more]


def analyze(output: Path, place, *more: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "REVIEW_DIGEST_ENGINE_KEY": KEY}
    return subprocess.run(
        command(output, place, *more), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=RUN_S, check=False
    )


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


def test_a_proxy_that_delays_cuts_and_refuses_costs_no_restaurant(place, tmp_path):
    straight = analyze(tmp_path / "straight", place.options)
    assert straight.returncode == 0, straight.stderr
    with Loopback(through(place.url), unsteady(7)) as proxy:
        crooked = analyze(tmp_path / "crooked", ["--engine", place.kind, "--engine-url", proxy.url])
        assert crooked.returncode == 0, crooked.stderr
        assert KEY not in crooked.stderr
    statuses = [table(tmp_path / output, "restaurants").select("restaurant_id", "status") for output in ("straight", "crooked")]
    assert statuses[0].equals(statuses[1])
    found = [table(tmp_path / output, "reviews").sort("restaurant_id", "review_id") for output in ("straight", "crooked")]
    same = (found[0]["sentiment"] == found[1]["sentiment"]).sum()
    assert same >= 0.99 * found[0].height


def test_a_server_that_is_killed_costs_only_what_was_inside(vllm_server, tmp_path):
    import httpx2

    port = free_port()
    environment = {**os.environ, "REVIEW_DIGEST_ENGINE_KEY": KEY}
    with vllm_server(port) as place:
        with (tmp_path / "said").open("wb") as said:
            run = subprocess.Popen(command(tmp_path / "out", place.options), cwd=ROOT, env=environment, stdout=said, stderr=said)
        try:
            end = time.monotonic() + RUN_S
            while "analysing" not in (tmp_path / "said").read_text():
                assert run.poll() is None, (tmp_path / "said").read_text()
                assert time.monotonic() < end
                time.sleep(0.2)
            time.sleep(5)
            assert httpx2.get(f"{place.url}/health").status_code == 200
            place.kill()
            assert run.wait(RUN_S) == 75, (tmp_path / "said").read_text()
        finally:
            run.kill()
    assert not (tmp_path / "out" / "current").exists()
    with vllm_server(port) as place:
        done = analyze(tmp_path / "out", place.options)
        assert done.returncode == 0, done.stderr
        counts = manifest(tmp_path / "out")["counts"]
        assert counts["answers_reused"] > 0
        assert sum(counts["restaurants"].values()) == RESTAURANTS
        assert table(tmp_path / "out", "restaurants")["restaurant_id"].is_unique().all()
        asked = table(tmp_path / "out", "requests").filter(~pl.col("reused"))
        assert asked.height < counts["requests"]


def test_a_wrong_key_ends_a_run_before_it_begins(vllm, tmp_path):
    environment = {**os.environ, "REVIEW_DIGEST_ENGINE_KEY": "another-key"}
    done = subprocess.run(
        command(tmp_path / "out", vllm.options), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 78
    assert "REVIEW_DIGEST_ENGINE_KEY" in done.stderr
    assert "another-key" not in done.stderr
