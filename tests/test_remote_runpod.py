"""A RunPod endpoint with this job's worker, both ends: jobs of many requests, states, cancelling, and what fails alone."""

import asyncio
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from deterministic_engine import DeterministicEngine
from loopback import Fault, Loopback, as_runpod
from test_analysis import FakeMachine
from test_remote import IDS, QUICK, Words, answers_of, requests

from jobs import runpod_worker
from pipeline.errors import BadConfiguration, EngineDied, TryAgain
from pipeline.records import Answer, Request, Sampling
from pipeline.remote import runpod_endpoint, wire
from pipeline.remote.calls import Calls
from pipeline.remote.endpoint import Endpoint
from pipeline.remote.engine import RemoteEngine
from pipeline.remote.loop_thread import LoopThread
from pipeline.remote.runpod_endpoint import RunPodEndpoint
from pipeline.remote.served import PROBE, Served
from pipeline.remote.worker import Worker

SERVED = Served("embedded", "embedded", 4096, "revision-1", {"dtype": "none"})


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(runpod_endpoint, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(runpod_endpoint, "MOST_POLL_S", 0.05)


@pytest.fixture
def started():
    """`started(server, **endpoint)`: an engine at this endpoint, checked."""
    threads = []

    def start(server, words=IDS, **options):
        endpoint = Endpoint("runpod", server.url, **{"patience": QUICK, "in_flight": 32, "key": "rp-key", **options})
        threads.append(LoopThread())
        calls = Calls(endpoint)
        transport = RunPodEndpoint(calls, endpoint)
        assert threads[-1].wait(transport.served(None)) == SERVED
        threads[-1].wait(transport.check(Words(words)))
        return RemoteEngine(transport, calls, threads[-1], SERVED.max_model_len, endpoint.in_flight, lambda what: None)

    yield start
    for thread in threads:
        thread.close()


def worker(engine=None):
    return Worker(lambda: engine or DeterministicEngine(), SERVED, IDS)


def jobs(server):
    return [call.body["input"]["requests"] for call in server.to("/run") if "requests" in call.body["input"]]


def shared_prompt(said):
    return said["prompt"][0]


def test_many_requests_go_as_few_jobs_in_order_and_every_answer_finds_its_request(started):
    with Loopback(as_runpod(worker())) as server:
        asked = requests(30)
        found = answers_of(started(server), asked)
        assert found.keys() == {request.key for request in asked}
        assert all(answer.error is None and answer.logprobs.keys() == {5, 9} for answer in found.values())
        sent = sorted(jobs(server), key=lambda job: job[0]["rank"])  # they are on their way together
        assert [len(job) for job in sent] == [8, 8, 8, 6]
        assert [said["key"] for job in sent for said in job] == [request.key for request in asked]
        assert [said["rank"] for job in sent for said in job] == list(range(30))
        assert {call.headers["Authorization"] for call in server.calls} == {"Bearer rp-key"}


def test_answers_of_one_token_do_not_wait_for_long_ones_and_what_follows_them_goes_together(started):
    with Loopback(as_runpod(worker())) as server:
        engine = started(server)
        labels, texts = requests(20), [replace(request, key=f"t{request.key}") for request in requests(6, Sampling(80))]
        for rank, request in enumerate(one for pair in zip(labels, texts, strict=False) for one in pair):
            engine.submit(request, rank)
        waiting, found = labels[6:], []
        while engine.unfinished:
            answers = engine.step()
            found += answers
            for request in waiting[: len(answers)]:
                engine.submit(request, 0)
            waiting = waiting[len(answers) :]
        assert len(found) == 26
        assert all(len({bool(said.get("choices")) for said in job}) == 1 for job in jobs(server))
        assert [len(job) for job in jobs(server)][:2] == [6, 6]
        assert len(jobs(server)) <= 6


def test_a_job_is_told_when_it_may_be_forgotten(started):
    with Loopback(as_runpod(worker())) as server:
        answers_of(started(server), requests(2))
        assert {json.dumps(call.body["policy"]) for call in server.to("/run")} == {'{"executionTimeout": 20000, "ttl": 20000}'}


def test_large_requests_make_smaller_jobs(started, monkeypatch):
    monkeypatch.setattr(runpod_endpoint, "MOST_BYTES", 500)
    with Loopback(as_runpod(worker())) as server:
        assert len(answers_of(started(server), requests(6))) == 6
        assert len(jobs(server)) > 2
        assert all(len(json.dumps(job)) < 1000 for job in jobs(server))


def test_a_status_that_is_posted_for_is_posted_for(started):
    with Loopback(as_runpod(worker(), post_only=True)) as server:
        assert len(answers_of(started(server), requests(12))) == 12
        assert [call.method for call in server.to("/status")].count("GET") == 1


def test_a_request_that_fails_in_the_engine_fails_alone(started):
    engine = DeterministicEngine(fail=lambda request: int(request.prompt[0]) == 4)
    with Loopback(as_runpod(worker(engine))) as server:
        asked = requests(12)
        found = answers_of(started(server), asked)
        assert [key for key, answer in found.items() if answer.error] == [asked[3].key]
        assert len(jobs(server)) == 2


def test_a_request_that_no_worker_survives_is_found_by_halving_and_fails_alone(started):
    def poisoned(call):
        said = call.body and call.body.get("input", {}).get("requests", ())
        return bool(said) and 4 in map(shared_prompt, said)

    answer, failing = as_runpod(worker()), set()

    def respond(call):
        status, said = answer(call)
        if poisoned(call):
            failing.add(said["id"])
        if call.path.removeprefix("/status/") in failing:
            return 200, {"id": "x", "status": "FAILED", "error": "worker exited with exit code 137"}
        return status, said

    with Loopback(respond) as server:
        asked = requests(24)
        found = answers_of(started(server), asked)
        assert [key for key, answer in found.items() if answer.error] == [asked[3].key]
        assert "exit code 137" in found[asked[3].key].error
        assert len([job for job in jobs(server) if 4 in map(shared_prompt, job)]) == 5  # 8, 4, 2, 1, and 1 once more


def test_an_endpoint_whose_jobs_all_fail_is_down(started):
    answer = as_runpod(worker())

    def respond(call):
        if call.path.startswith("/status/") and server.to("/run")[1:]:
            return 200, {"id": "x", "status": "FAILED", "error": "CUDA out of memory"}
        return answer(call)

    with Loopback(respond) as server:
        with pytest.raises(EngineDied, match="CUDA out of memory"):
            answers_of(started(server), requests(32))
        assert len(jobs(server)) < 64


@pytest.mark.parametrize("state", ["TIMED_OUT", "CANCELLED", "FAILED"])
def test_a_job_that_ends_without_a_result_is_asked_again(started, state):
    answer, once = as_runpod(worker()), []

    def respond(call):
        if call.path.startswith("/status/") and len(server.to("/run")) == 2 and not once:
            once.append(call)
            return 200, {"id": "x", "status": state}
        return answer(call)

    with Loopback(respond) as server:
        found = answers_of(started(server), requests(4))
        assert all(answer.error is None for answer in found.values())
        assert [len(job) for job in jobs(server)] == [4, 2, 2]


def test_an_aborted_run_cancels_its_jobs(started):
    with Loopback(as_runpod(worker(), polls=1)) as server:
        engine = started(server)
        server.fault = lambda call: Fault(status=200, body='{"status": "IN_PROGRESS"}') if call.path.startswith("/status") else None
        for request in requests(20):
            engine.submit(request, 0)
        assert engine.step() == []
        engine.abort()
        assert engine.unfinished == 0
        begun = {f"/cancel/job-{number}" for number in range(1, 4)}
        assert {call.path for call in server.to("/cancel")} == begun


def test_an_endpoint_without_workers_is_to_be_tried_again(started):
    patience = type(QUICK)(connect_s=1, read_s=1, total_s=0.5, attempts=3, base_s=0.01, most_s=0.02)
    with Loopback(as_runpod(worker(), polls=10**6)) as server:
        with pytest.raises(TryAgain, match="workers"):
            started(server, patience=patience)
        assert server.to("/cancel")


def test_what_is_no_worker_of_this_program_or_has_another_tokenizer_is_refused(started):
    def stranger(call):
        return 200, {"id": "j", "status": "COMPLETED", "output": {"text": "hi"}}

    def nowhere(call):
        return 404, {"error": "endpoint not found"}

    with Loopback(stranger) as server, pytest.raises(BadConfiguration, match="worker there is not"):
        started(server)
    with Loopback(nowhere) as server, pytest.raises(BadConfiguration, match="endpoint not found"):
        started(server)
    with Loopback(as_runpod(worker())) as server, pytest.raises(BadConfiguration, match="another tokenizer"):
        started(server, words=[1, 2])


@pytest.mark.parametrize(
    "fault", [Fault(status=500), Fault(cut=True), Fault(status=429, headers={"Retry-After": "0"}), Fault(delay_s=0.05)]
)
def test_calls_that_fail_on_the_way_cost_no_answer(started, fault):
    with Loopback(as_runpod(worker()), lambda call: fault if call.number == 1 and call.path != "/run" else None) as server:
        found = answers_of(started(server), requests(10))
        assert len(found) == 10
        assert all(answer.error is None for answer in found.values())


def test_requests_and_answers_come_through_json_as_they_were():
    for sampling in (Sampling(1, (3, 70_000)), Sampling(80, regex="한+"), Sampling(80, schema='{"a": 1}'), Sampling(5)):
        request = Request("k" * 32, "summary", "part", "r", np.array([1, 2**32 - 1], dtype=np.uint32), sampling, shared=1)
        (said,) = json.loads(json.dumps(wire.requests([(request, -5)])))["requests"]
        back, rank = wire.read_request(said)
        assert (back.key, back.prompt.tolist(), back.sampling, rank) == (request.key, request.prompt.tolist(), sampling, -5)
    answer = Answer("k", "좋아요", {3: -0.1234567890123, 9: float("-inf")}, 10, 4, 2, 0.1, 0.2, 0.3, "stop", None, 0.4)
    back = wire.read_answer(json.loads(json.dumps(wire.answer(answer), allow_nan=False)))
    assert back.logprobs == {3: -0.1234567890123, 9: -9999.0}
    assert (back.text, back.cached_tokens, back.first_token_s, back.error) == ("좋아요", 4, 0.4, None)
    assert wire.read_answer(wire.answer(Answer("k", error="no"))).error == "no"


def test_a_worker_answers_what_it_cannot_read_one_by_one():
    said = {"version": wire.VERSION, "requests": [{"key": "a"}, {"key": "b", "prompt": [], "max_tokens": 1}, 7]}
    said["requests"] += wire.requests([(requests(1)[0], 0)])["requests"]
    found = asyncio.run(worker().handle({"input": said}))["answers"]
    assert [bool(one.get("error")) for one in found] == [True, True, True, False]
    assert [one["key"] for one in found][:2] == ["a", "b"]


@pytest.mark.parametrize("asked", [None, {}, {"version": 99, "about": True}, {"version": wire.VERSION}, {"prompt": "hello"}])
def test_a_worker_says_that_a_job_is_not_for_it(asked):
    assert asyncio.run(worker().handle({"input": asked}))["error"]


def test_a_worker_keeps_its_engine_full_from_several_jobs_by_rank_and_keeps_equal_keys_apart():
    engine = DeterministicEngine(window=4, per_step=2)
    one = worker(engine)
    first, second = requests(12)[:6], requests(12)[6:]

    async def both():
        asked = [wire.requests((request, rank) for request in some) for rank, some in ((5, first), (1, second))]
        asked.append(asked[0])  # another client, the same questions
        return await asyncio.gather(*(one.handle({"input": job}) for job in asked))

    found = asyncio.run(both())
    for job, asked in zip(found, (first, second, first), strict=True):
        assert [answer["key"] for answer in job["answers"]] == [request.key for request in asked]
    assert len(engine.submitted) == 18
    assert engine.most_unfinished == 4
    later = engine.ranks[6:]
    assert later == sorted(later)


def test_a_worker_whose_engine_dies_says_so_and_is_replaced():
    class Mortal(DeterministicEngine):
        def step(self):
            raise EngineDied("the engine died (made to die)")

    one = worker(Mortal())
    for _ in range(2):
        found = asyncio.run(one.handle({"input": wire.requests([(requests(1)[0], 0)])}))
        assert "made to die" in found["error"]
        assert found["refresh_worker"] is True


def test_a_worker_whose_engine_cannot_be_made_does_not_start():
    def fails():
        raise BadConfiguration("vLLM does not start")

    with pytest.raises(BadConfiguration, match="does not start"):
        Worker(fails, SERVED, IDS)


def test_a_job_that_is_cancelled_leaves_the_worker_to_the_others():
    go = threading.Event()

    class Slow(DeterministicEngine):
        def step(self):
            go.wait(5)
            return super().step()

    engine = Slow(window=2, per_step=2)
    one = worker(engine)

    async def cancelled():
        task = asyncio.create_task(one.handle({"input": wire.requests((request, 0) for request in requests(8))}))
        await asyncio.sleep(0.1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        go.set()
        return await one.handle({"input": wire.requests([(requests(9)[8], 1)])})

    began = time.monotonic()
    (found,) = asyncio.run(cancelled())["answers"]
    assert found.get("error") is None
    assert len(engine.submitted) < 9
    assert time.monotonic() - began < 5


def test_a_worker_says_of_itself_what_its_machine_is(model, tokens, monkeypatch):
    monkeypatch.setattr(runpod_worker, "local_machine", lambda *_, **__: FakeMachine(model))
    monkeypatch.setattr(runpod_worker, "Tokens", lambda folder: tokens)
    said = asyncio.run(runpod_worker.make_worker(None, None, None, None).handle({"input": {"version": wire.VERSION, "about": True}}))
    served, ids = wire.read_about(json.loads(json.dumps(said)))
    assert (served.name, served.revision, served.answer_settings) == (model.name, model.revision, {"dtype": "none"})
    assert ids == tokens.part(PROBE).tolist()


@pytest.mark.parametrize(
    ("device", "options"), [("tpu", None), (None, "max_model_len=8192"), (None, "[1]"), (None, '{"trust_remote_code": true}')]
)
def test_a_worker_that_is_configured_wrongly_does_not_start(device, options):
    with pytest.raises(BadConfiguration, match="REVIEW_DIGEST_WORKER"):
        runpod_worker.make_worker(None, device, options, None)
