"""Whole runs on an engine elsewhere: the same results over a bad network, one home for each engine's answers, and no trace of it in a run
on this machine."""

import functools
import hashlib
import json
import re
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from deterministic_engine import DeterministicEngine
from loopback import Fault, Loopback, as_runpod, as_vllm
from nights import assert_equal, read
from test_analysis import SCHEMA, FakeMachine, rows
from test_cli import assert_clean_error, jobs
from test_remote import KEY, QUICK, asked_about, no_probe

import pipeline
from pipeline import api
from pipeline.errors import BadConfiguration
from pipeline.remote import endpoint as places
from pipeline.remote import machine as remote
from pipeline.remote import runpod_endpoint
from pipeline.remote.endpoint import Endpoint
from pipeline.remote.machine import RemoteMachine
from pipeline.remote.served import PROBE, Served
from pipeline.remote.worker import Worker
from pipeline.runtime import Runtime

ROOT = Path(__file__).parent.parent
CLIENTS = {"httpx", "httpx2", "aiohttp", "requests", "urllib3", "ray"}
SETTINGS = {"dtype": "float32", "max_model_len": 4096}


class AskedEngine(DeterministicEngine):
    """Its answers depend on what is asked alone, not on the key."""

    def _answer(self, request):
        asked = hashlib.sha256(request.prompt.tobytes() + repr(request.sampling).encode()).hexdigest()
        known = replace(request, key=asked, task="strengths" if request.sampling.schema else "summary")
        return replace(super()._answer(known), key=request.key)


@pytest.fixture(autouse=True)
def light(patched, monkeypatch, model, tokens):
    """One tokenizer for all machines, and little patience."""

    @contextmanager
    def tokenizer_of(name, cache):
        asked.append(name)
        yield model

    asked = []
    monkeypatch.setattr(remote, "tokenizer_of", tokenizer_of)
    monkeypatch.setattr(remote, "Tokens", lambda folder: tokens)
    monkeypatch.setattr(places, "Endpoint", functools.partial(Endpoint, patience=QUICK))
    monkeypatch.setattr(runpod_endpoint, "FIRST_POLL_S", 0.01)
    return asked


@pytest.fixture
def dump(tmp_path):
    pl.DataFrame(rows([3, 1, 7, 2], broken=1), schema=SCHEMA, orient="row").write_parquet(tmp_path / "dump.parquet")
    return tmp_path / "dump.parquet"


@pytest.fixture
def vllm(tokens):
    """`vllm(fault)`: a server whose tokenizer is the embedded model's."""
    return lambda fault=lambda call: None, **served: Loopback(as_vllm(tokens.part(PROBE).tolist(), **served), fault)


@pytest.fixture
def endpoint(tokens):
    """`endpoint()`: a RunPod endpoint whose worker has this program's embedded model, or says so."""
    ids = tokens.part(PROBE).tolist()
    return lambda: Loopback(as_runpod(Worker(AskedEngine, Served("embedded", "embedded", 4096, "revision-1", SETTINGS), ids)))


def analyze(dump, output, server, *arguments, engine="openai"):
    where = ["--engine", engine, "--engine-url", server.url, "--model", "embedded", "--in-flight", "6"]
    return jobs("analyze", dump, "--output", output, *where, *arguments, REVIEW_DIGEST_ENGINE_KEY=KEY)


def committed(output):
    return read((output / "current").resolve())


def test_a_bad_network_changes_no_result_and_the_key_is_nowhere(dump, tmp_path, vllm):
    kinds = [Fault(status=429), Fault(status=500), Fault(cut=True), Fault(drop=True), Fault(delay_s=0.02), None]

    def bad(call):
        return kinds[sum(call.body["prompt"]) % len(kinds)] if no_probe(call) and call.number == 1 else None

    with vllm() as sound, vllm(bad) as unsound:
        for name, server in (("sound", sound), ("unsound", unsound)):
            done = analyze(dump, tmp_path / name, server, "--engine-revision", "the same")
            assert done.returncode == 0, done.stderr
            assert KEY not in done.stderr + done.stdout
            assert 1 < server.most_at_once <= 6
    assert_equal(committed(tmp_path / "unsound"), committed(tmp_path / "sound"))
    manifest = json.loads((tmp_path / "sound" / "current" / "manifest.json").read_text())
    assert (manifest["settings"]["device"], manifest["settings"]["engine_url"]) == ("remote", sound.url)
    assert manifest["costs"]["engine"]["steps"] == 0
    assert manifest["tokens"]["cached"] > 0
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes(), file


def test_a_server_that_dies_in_the_middle_costs_only_what_was_inside(dump, tmp_path, vllm, tokens):
    probe = tokens.part(PROBE).tolist()

    def dies(call):
        return Fault(drop=True) if len(asked_about(server)) > 100 else None

    def questions(calls):
        asked = [call.body for call in calls if call.body["prompt"] != probe]
        return {json.dumps({name: value for name, value in body.items() if name != "priority"}) for body in asked}

    with vllm(dies) as server:
        assert_clean_error(analyze(dump, tmp_path / "out", server), 75, "died", "run the same command again")
        before = asked_about(server)
        server.fault = lambda call: None
        done = analyze(dump, tmp_path / "out", server)
        assert done.returncode == 0, done.stderr
        after = asked_about(server)[len(before) :]
    assert len(questions(before[:100])) == 99
    assert questions(after)
    assert not questions(before[:100]) & questions(after)


def test_refused_requests_cost_what_is_made_of_them_and_nothing_else(dump, tmp_path, vllm):
    def refuses(call):
        return Fault(status=400, body='{"error": "no"}') if no_probe(call) and "json" in call.body.get("structured_outputs", {}) else None

    with vllm(refuses) as server:
        done = analyze(dump, tmp_path / "out", server, "--max-failed", "100%")
    assert done.returncode == 0, done.stderr
    restaurants = committed(tmp_path / "out")["restaurants"]
    assert set(restaurants["status"]) == {"partial"}
    assert all("refused by the engine: no" in error for error in restaurants["error"])


def test_a_runpod_endpoint_gives_the_results_of_its_worker_s_engine_and_shares_the_store(dump, tmp_path, endpoint, model, monkeypatch):
    class Here(FakeMachine):
        def engine(self, model):
            self.loaded += 1
            return AskedEngine()

    here = Here(type(model)("embedded", model.folder, "revision-1"))
    here.answer_settings = SETTINGS
    monkeypatch.setattr(api, "local_machine", lambda *_: here)
    with endpoint() as server:
        done = analyze(dump, tmp_path / "there", server, engine="runpod")
    assert done.returncode == 0, done.stderr
    pipeline.analyze(dump, tmp_path / "here")
    assert here.loaded == 1
    assert_equal(committed(tmp_path / "there"), committed(tmp_path / "here"))
    pipeline.analyze(dump, tmp_path / "again", store=tmp_path / "there.store")
    assert here.loaded == 1


def test_shards_of_a_run_elsewhere_are_merged_to_the_results_of_one(dump, tmp_path, vllm):
    with vllm() as server:
        assert analyze(dump, tmp_path / "one", server).returncode == 0
        for number in ("1/2", "2/2"):
            done = analyze(dump, tmp_path / "many", server, "--shard", number)
            assert done.returncode == 0, done.stderr
        where = ["--engine", "openai", "--engine-url", server.url, "--model", "embedded"]
        done = jobs("merge", dump, "--output", tmp_path / "many", "--shards", "2", *where)
        assert done.returncode == 0, done.stderr
    assert_equal(committed(tmp_path / "many"), committed(tmp_path / "one"))


def identity(kind, server, revision=None, name="embedded"):
    with RemoteMachine(Endpoint(kind, server.url, revision=revision, patience=QUICK), name, Path("cache"), lambda what: None) as machine:
        return Runtime(machine).identity


def test_answers_of_two_servers_are_kept_apart_unless_a_person_says_that_they_are_one(vllm, model):
    with vllm() as one, vllm() as other, vllm(model="org/tuned") as tuned:
        assert identity("openai", one) == identity("openai", one)
        assert identity("openai", one) != identity("openai", other)
        assert identity("openai", one, "v1 bf16") == identity("openai", other, "v1 bf16")
        assert identity("openai", one, "v1 bf16") != identity("openai", tuned, "v1 bf16", name="org/tuned")
        here = FakeMachine(model)
        assert Runtime(here).identity not in {identity("openai", one), identity("openai", one, model.revision)}


def test_a_worker_with_the_model_revision_and_settings_of_this_machine_shares_its_answers(endpoint, model):
    here = FakeMachine(type(model)("embedded", model.folder, "revision-1"))
    here.answer_settings = SETTINGS
    with endpoint() as server:
        assert identity("runpod", server) == Runtime(here).identity
        here.answer_settings = {**SETTINGS, "dtype": "bfloat16"}
        assert identity("runpod", server) != Runtime(here).identity


def test_the_tokenizer_is_the_served_model_s_unless_another_is_named(vllm, light, tmp_path):
    with vllm(model="org/model") as server, vllm(model="mine", root="/models/mine") as folder:
        identity("openai", server, name=None)
        identity("openai", server, name=str(tmp_path))
        assert light == ["org/model", str(tmp_path)]
        with pytest.raises(BadConfiguration, match="--model"):
            identity("openai", folder, name=None)


def test_another_model_than_the_one_served_is_refused(vllm, endpoint, light):
    with vllm() as server, endpoint() as worker:
        for kind, there in (("openai", server), ("runpod", worker)):
            with pytest.raises(BadConfiguration, match="serves embedded, not org/larger"):
                identity(kind, there, name="org/larger")
    assert light == []


def test_a_run_that_finds_all_answers_asks_only_what_is_served(dump, tmp_path, vllm):
    with vllm() as server:
        assert analyze(dump, tmp_path / "out", server).returncode == 0
        before = len(server.calls)
        done = analyze(dump, tmp_path / "out", server)
        assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
        assert [call.path for call in server.calls[before:]] == ["/v1/models"]


def test_a_plan_asks_only_what_is_served_and_knows_the_answers_of_that_engine(dump, tmp_path, vllm):
    with vllm() as server:
        where = ["--engine", "openai", "--engine-url", server.url, "--model", "embedded", "--output", tmp_path / "out", "--json"]
        first = json.loads(jobs("plan", dump, *where).stdout)
        assert [call.path for call in server.calls] == ["/v1/models"]
        assert not first["nothing_to_do"]
        assert analyze(dump, tmp_path / "out", server).returncode == 0
        assert json.loads(jobs("plan", dump, *where).stdout)["nothing_to_do"]


def test_a_call_from_python_takes_an_endpoint_and_leaves_no_thread_behind(dump, tmp_path, vllm):
    with vllm() as server:
        done = pipeline.analyze(dump, tmp_path / "out", model="embedded", endpoint=Endpoint("openai", server.url, patience=QUICK))
    assert done.restaurants["status"].to_list() == ["ok"] * 4
    assert "remote-engine" not in {thread.name for thread in threading.enumerate()}


MISSING = """
import sys
from importlib.machinery import PathFinder

class Installed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        missing = name.partition(".")[0] in ("vllm", "torch", "accelerate", "gguf")
        return None if missing else super().find_spec(name, path, target)

sys.meta_path = [Installed if finder is PathFinder else finder for finder in sys.meta_path]
from jobs.__main__ import main
main()
"""


def test_a_run_on_an_engine_elsewhere_needs_neither_vllm_nor_torch_here(dump, tmp_path, vllm):
    with vllm() as server:
        where = ["--engine", "openai", "--engine-url", server.url, "--model", "embedded", "--output", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-c", MISSING, "analyze", str(dump), *where], capture_output=True, text=True, cwd=ROOT, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "PyTorch" not in done.stderr
    assert len(asked_about(server)) > 40  # of the anchor reviews, at least those that show whether the model reads a language
    assert committed(tmp_path / "out")["restaurants"].height == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--in-flight", "4"], "--engine openai"),
        (["--engine-url", "http://h"], "--engine openai"),
        (["--engine", "openai"], "--engine-url"),
        (["--engine", "openai", "--engine-url", "http://h", "--device", "cpu"], "--device"),
        (["--engine", "openai", "--engine-url", "http://h", "--engine-option", "dtype=float32"], "--engine-option"),
        (["--engine", "openai", "--engine-url", "http://h", "--feed", "generate"], "--feed"),
        (["--engine", "runpod", "--engine-url", "http://h", "--engine-revision", "1"], "--engine-revision"),
        (["--engine", "ray"], "ray"),
    ],
)
def test_options_that_do_not_go_together_are_refused(dump, tmp_path, arguments, said):
    done = jobs("analyze", dump, "--output", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


def test_the_options_that_count_are_printed_without_the_key_and_without_what_an_address_hides(dump):
    where = ["--engine", "openai", "--engine-url", "https://me:hidden@gpu-1/v1?token=hidden", "--in-flight", "8"]
    for command in ("analyze", "plan"):
        done = jobs(command, dump, *where, "--print-config", REVIEW_DIGEST_ENGINE_KEY=KEY)
        assert (done.returncode, "in-flight = 8" in done.stdout, "gpu-1" in done.stdout) == (0, True, True), done.stderr
        assert not {KEY, "hidden"} & set(re.findall(r"[\w-]+", done.stdout + done.stderr))


def test_there_is_no_other_place_for_the_key_than_the_environment(dump, tmp_path):
    (tmp_path / "night.toml").write_text(f'[analyze]\nengine-key = "{KEY}"\n')
    for arguments in (["--config", tmp_path / "night.toml", "analyze", dump], ["analyze", dump, "--engine-key", KEY]):
        done = jobs(*arguments, "--output", tmp_path / "out")
        assert done.returncode == 2
        assert "engine-key" in done.stderr
        assert KEY not in done.stderr


def test_queries_are_expanded_by_an_engine_elsewhere(tmp_path, vllm, write_dump):
    queries = write_dump(tmp_path / "queries.parquet", [{"query_id": str(i), "text": f"good soup {i}"} for i in range(3)])
    with vllm() as server:
        where = ["--engine", "openai", "--engine-url", server.url, "--model", "embedded", "--output", tmp_path / "out"]
        done = jobs("expand-queries", queries, *where, "--max-failed", "100%", REVIEW_DIGEST_ENGINE_KEY=KEY)
        assert done.returncode == 0, done.stderr
        assert len(asked_about(server)) >= 3


def test_a_key_with_a_line_end_is_refused_without_showing_it(dump, tmp_path):
    where = ["--engine", "openai", "--engine-url", "http://127.0.0.1:1"]
    done = jobs("analyze", dump, "--output", tmp_path / "out", *where, REVIEW_DIGEST_ENGINE_KEY=f"{KEY}\n")
    assert_clean_error(done, 78, "REVIEW_DIGEST_ENGINE_KEY")
    assert KEY not in done.stderr


WATCHED = """
import builtins, json, sys
clients, real, asked, connections = set(sys.argv.pop(1).split(",")), builtins.__import__, set(), []

def watched(name, globals=None, locals=None, fromlist=(), level=0):
    wanted, by = name.partition(".")[0], str((globals or {}).get("__name__")).partition(".")[0]
    if level == 0 and wanted in clients and wanted != by:
        asked.add((by, wanted))
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = watched
sys.addaudithook(lambda event, arguments: connections.append(str(arguments)) if event == "socket.connect" else None)
from pipeline import api
from jobs.instant_machine import instant_machine
api.local_machine = lambda *_, **__: instant_machine(lambda _: None)
from jobs.__main__ import main
try:
    main()
finally:
    loaded = {name for name in sys.modules if name.partition(".")[0] in clients or name.startswith("pipeline.remote")}
    print(json.dumps({"asked": sorted(asked), "loaded": sorted(loaded), "connections": connections}))
"""


def test_a_run_on_this_machine_opens_no_connection_and_this_program_imports_neither_ray_nor_an_http_client(dump, tmp_path):
    """With an engine that computes nothing; vLLM's own way to one imports more. transformers imports httpx2 through huggingface_hub, and
    accelerate urllib3 through boto3 where that is there."""
    arguments = [",".join(CLIENTS), "analyze", str(dump), "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", WATCHED, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["connections"] == []
    assert not {by for by, _ in found["asked"]} & {"pipeline", "jobs", "__main__"}
    assert {name.partition(".")[0] for name in found["loaded"]} <= {"httpx2", "urllib3"}


@pytest.mark.parametrize(
    "modules", ["jobs.analyze, jobs.plan, jobs.expand_queries, jobs.evaluate", "pipeline.remote.machine, jobs.runpod_worker"]
)
def test_importing_commands_imports_no_http_client(modules):
    code = f"import sys, {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    found = set(done.stdout.split())
    assert not CLIENTS & {name.partition(".")[0] for name in found}
    assert "remote" in modules or "pipeline.remote" not in found
