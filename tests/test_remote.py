"""An engine elsewhere over HTTP, against a server on loopback that delays, cuts, refuses and lies."""

import signal
import time
from datetime import UTC, datetime

import numpy as np
import pytest
from loopback import Fault, Loopback, as_vllm, completion

from pipeline.errors import BadConfiguration, EngineDied, Stopped, TryAgain
from pipeline.records import Request, Sampling
from pipeline.remote import completions
from pipeline.remote.backoff import asked_to_wait, pause
from pipeline.remote.calls import Calls
from pipeline.remote.endpoint import Endpoint, Patience
from pipeline.remote.engine import RemoteEngine
from pipeline.remote.loop_thread import LoopThread
from pipeline.remote.openai_server import OpenAIServer
from pipeline.remote.served import PROBE

KEY = "sk-nobody-must-see-this"
IDS = [11, 12, 13]
QUICK = Patience(connect_s=2, read_s=5, total_s=20, attempts=5, base_s=0.01, most_s=0.05)
LABELS = Sampling(1, (5, 9))


class Words:
    """A tokenizer for the probe alone."""

    def __init__(self, ids):
        self._ids = ids

    def part(self, text):
        return np.array(self._ids, dtype=np.uint32)


def requests(number, sampling=LABELS):
    return [
        Request(f"{i:032x}", "sentiment", "label", "r", np.arange(i + 1, i + 20, dtype=np.uint32), sampling, chunk=i) for i in range(number)
    ]


@pytest.fixture
def started():
    """`started(server, **endpoint)`: an engine at this server, checked; all are closed at the end."""
    threads = []

    def start(server, check=True, words=IDS, tell=lambda what: None, **options):
        endpoint = Endpoint("openai", getattr(server, "url", server), **{"patience": QUICK, "in_flight": 64, "key": KEY, **options})
        threads.append(LoopThread())
        calls = Calls(endpoint)
        transport = OpenAIServer(calls, endpoint)
        served = threads[-1].wait(transport.served(None))
        if check and (note := threads[-1].wait(transport.check(Words(words)))):
            tell(note)
        return RemoteEngine(transport, calls, threads[-1], served.max_model_len, endpoint.in_flight, tell)

    yield start
    for thread in threads:
        thread.close()


def answers_of(engine, asked):
    for rank, request in enumerate(asked):
        assert engine.submit(request, rank) is None
    found = {}
    while engine.unfinished:
        found |= {answer.key: answer for answer in engine.step()}
    return found


def no_probe(call):
    """Whether it is none of the calls that a start makes."""
    return call.path == "/v1/completions" and call.body["prompt"] not in (PROBE, IDS)


def after_the_probes(what):
    """This fault, but for the calls that a start makes."""
    return lambda call: what(call) if no_probe(call) else None


def asked_about(server):
    return list(filter(no_probe, server.calls))


def test_answers_that_come_out_of_order_find_their_requests(started):
    slow = after_the_probes(lambda call: Fault(delay_s=0.2 if call.body["prompt"][0] % 3 else 0.0))
    with Loopback(as_vllm(IDS), slow) as server:
        asked = requests(24)
        found = answers_of(started(server), asked)
    assert found.keys() == {request.key for request in asked}
    for request in asked:
        expected = completions.answer(request, completion(completions.body(request, "m", 0), IDS), 1.0)
        assert found[request.key].logprobs == expected.logprobs
        assert (found[request.key].prompt_tokens, found[request.key].cached_tokens, found[request.key].error) == (19, 9, None)
    assert 8 < server.most_at_once <= 24


def test_a_request_goes_as_token_ids_with_everything_said_that_a_server_would_else_choose():
    (labels,) = requests(1)
    said = completions.body(labels, "org/model", -7)
    assert said["prompt"] == list(range(1, 20))
    assert (said["model"], said["max_tokens"], said["priority"]) == ("org/model", 1, -7)
    assert said["allowed_token_ids"] == said["logprob_token_ids"] == [5, 9]
    assert (said["temperature"], said["repetition_penalty"], said["top_p"], said["top_k"], said["min_p"]) == (0, 1, 1, 0, 0)
    (bullets,) = requests(1, Sampling(80, regex="a+"))
    assert completions.body(bullets, "m", 0)["structured_outputs"] == {"regex": "a+"}
    (schema,) = requests(1, Sampling(80, schema='{"type": "array"}'))
    assert completions.body(schema, "m", 0)["structured_outputs"] == {"json": '{"type": "array"}'}
    assert "priority" not in completions.body(schema, "m", None)


def test_an_answer_has_the_server_s_counts_and_timings():
    (request,) = requests(1, Sampling(80))
    said = completion(completions.body(request, "m", 0), IDS)
    found = completions.answer(request, said, seconds=1.0)
    assert (found.queue_s, found.prefill_s, found.decode_s) == (0.005, 0.02, 0.04)
    assert found.first_token_s == pytest.approx(0.96)
    del said["metrics"], said["usage"]["prompt_tokens_details"]
    found = completions.answer(request, said, seconds=1.0)
    assert (found.queue_s, found.first_token_s, found.cached_tokens, found.error) == (None, None, 0, None)


@pytest.mark.parametrize(
    "broken", [{}, {"choices": []}, {"choices": [{"text": "x"}]}, {"choices": [{"text": "", "finish_reason": "stop"}], "usage": {}}]
)
def test_an_answer_without_what_was_asked_for_is_a_failed_one(broken):
    (request,) = requests(1)
    assert "no completion" in completions.answer(request, broken, 1.0).error


def test_an_answer_that_misses_a_label_is_a_failed_one():
    (request,) = requests(1)
    said = completion(completions.body(request, "m", 0), IDS)
    del said["choices"][0]["logprobs"]["top_logprobs"][0]["token_id:9"]
    assert completions.answer(request, said, 1.0).error


FAULTS = {
    "429": Fault(status=429),
    "500": Fault(status=500, body='{"error": {"message": "oops"}}'),
    "503": Fault(status=503),
    "cut": Fault(cut=True),
    "drop": Fault(drop=True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_may_pass_is_asked_again_until_it_is_answered(started, name):
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: FAULTS[name] if call.number < 3 else None)) as server:
        found = answers_of(started(server), requests(6))
        assert all(answer.error is None for answer in found.values())
        assert len(asked_about(server)) == 18


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(status=400, body='{"error": {"message": "too long"}}'), "too long"),
        (Fault(status=422), "422"),
        (Fault(status=200), "no JSON"),
        (Fault(status=200, body="[1]"), "no JSON object"),
    ],
)
def test_what_would_be_refused_again_is_asked_once_and_fails_alone(started, fault, said):
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: fault if call.body["prompt"][0] == 3 else None)) as server:
        asked = requests(6)
        found = answers_of(started(server), asked)
        assert [bool(found[request.key].error) for request in asked] == [False, False, True, False, False, False]
        assert said in found[asked[2].key].error
        assert len(asked_about(server)) == 6


def test_a_request_that_always_fails_while_others_do_not_fails_alone(started):
    def one_bad(call):
        return Fault(status=500) if call.body["prompt"][0] == 3 else Fault(delay_s=0.05 * call.body["prompt"][0])

    with Loopback(as_vllm(IDS), after_the_probes(one_bad)) as server:
        asked = requests(60)
        found = answers_of(started(server), asked)
        assert [key for key, answer in found.items() if answer.error] == [asked[2].key]
        assert "HTTP 500" in found[asked[2].key].error


def test_a_server_that_says_later_is_asked_until_it_answers_as_long_as_it_answers_others(started):
    def later(call):
        first = call.body["prompt"][0]
        return Fault(delay_s=0.01 * first) if first != 3 else Fault(status=429) if call.number <= 3 * QUICK.attempts else None

    with Loopback(as_vllm(IDS), after_the_probes(later)) as server:
        asked = requests(200)
        found = answers_of(started(server, in_flight=256), asked)
        assert [key for key, answer in found.items() if answer.error] == []
        assert max(call.number for call in asked_about(server)) == 3 * QUICK.attempts + 1


def test_a_server_that_asks_to_wait_is_left_alone_that_long_by_all(started):
    def busy(call):
        return Fault(status=429, headers={"Retry-After": "2"}) if call.body["prompt"][0] == 1 and call.number == 1 else None

    with Loopback(as_vllm(IDS), after_the_probes(busy)) as server:
        engine = started(server)
        first, other = requests(2)
        engine.submit(first, 0)
        assert engine.step() == []
        assert len(answers_of(engine, [other])) == 2
        refused, *later = asked_about(server)
        assert len(later) == 2
        assert all(call.at - refused.at >= 1.9 for call in later)


def test_a_wait_longer_than_the_patience_is_given_up_at_once(started):
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: Fault(status=429, headers={"Retry-After": "3600"}))) as server:
        began = time.monotonic()
        with pytest.raises(TryAgain, match="cannot be reached"):
            answers_of(started(server), requests(3))
        assert time.monotonic() - began < 5


def test_a_server_that_goes_away_with_requests_inside_has_died(started):
    server = Loopback(as_vllm(IDS), after_the_probes(lambda call: Fault(drop=True)))
    with server:
        engine = started(server)
        with pytest.raises(EngineDied, match="died") as raised:
            answers_of(engine, requests(4))
        assert raised.value.exit_code == 75
        assert engine.unfinished == 0


def test_what_was_answered_before_a_server_died_does_not_make_the_rest_fail_alone(started):
    def dies(call):
        return Fault(drop=True, delay_s=0.4) if call.body["prompt"][0] > 3 else None

    with Loopback(as_vllm(IDS), after_the_probes(dies)) as server:
        with pytest.raises(EngineDied):
            answers_of(started(server), requests(6))
        assert len({call.body["prompt"][0] for call in asked_about(server)}) == 6


def test_a_server_that_is_not_there_is_to_be_tried_again_and_nobody_is_suspected(started):
    with Loopback(as_vllm(IDS)) as server:
        url = server.url
    with pytest.raises(TryAgain, match="cannot be reached") as raised:
        started(url)
    assert not isinstance(raised.value, EngineDied)


def test_a_server_that_sends_elsewhere_is_not_followed_with_the_key(started):
    with Loopback(as_vllm(IDS)) as other, Loopback(as_vllm(IDS)) as server:
        server.fault = lambda call: Fault(status=307, headers={"Location": other.url + call.path})
        with pytest.raises(BadConfiguration, match="somewhere else"):
            started(server)
        assert other.calls == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_key_that_is_refused_is_a_matter_of_configuration_and_is_not_shown(started, status):
    refusal = Fault(status=status, body=f'{{"error": {{"message": "Incorrect API key provided: {KEY}"}}}}')
    with Loopback(as_vllm(IDS), lambda call: refusal) as server:
        with pytest.raises(BadConfiguration, match="REVIEW_DIGEST_ENGINE_KEY") as raised:
            started(server)
        assert KEY not in str(raised.value)
        assert server.calls[0].headers["Authorization"] == f"Bearer {KEY}"
        assert len(server.calls) == 1


def test_a_server_s_words_are_repeated_without_the_key(started):
    refusal = Fault(status=400, body=f'{{"error": {{"message": "who is {KEY}?"}}}}')
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: refusal)) as server:
        (found,) = answers_of(started(server), requests(1)).values()
    assert "who is ***?" in found.error
    assert KEY not in repr(Endpoint("openai", "http://h", key=KEY))


@pytest.mark.parametrize(
    "url", ["gpu-1:8000", "ftp://gpu-1", "http://", "http://me:secret@gpu-1", "http://gpu-1/?key=secret", "http://h:x"]
)
def test_an_address_that_is_none_or_holds_a_secret_is_refused_without_showing_it(url):
    with pytest.raises(BadConfiguration) as raised:
        Endpoint("openai", url)
    assert "secret" not in str(raised.value)


def test_another_tokenizer_another_server_and_several_models_are_refused_at_the_start(started):
    with Loopback(as_vllm([11, 12, 14])) as server, pytest.raises(BadConfiguration, match="another tokenizer"):
        started(server)
    with Loopback(lambda call: (404, {})) as server, pytest.raises(BadConfiguration, match="vLLM server"):
        started(server)
    two = {"data": [{"id": name, "max_model_len": 4096} for name in ("a", "b")]}
    with Loopback(lambda call: (200, two)) as server, pytest.raises(BadConfiguration, match="a, b"):
        started(server)


def test_a_server_that_gives_no_chosen_log_probabilities_is_refused_at_the_start(started):
    def plain(call):
        status, said = as_vllm(IDS)(call)
        for choice in said.get("choices", ()):
            choice.pop("logprobs", None)
        return status, said

    with Loopback(plain) as server, pytest.raises(BadConfiguration, match="log-probabilities"):
        started(server)


def test_a_server_that_refuses_priorities_gets_none_and_one_that_takes_them_gets_the_rank(started):
    def refuses(call):
        return Fault(status=400, body='{"error": {"message": "priority scheduling is not enabled"}}') if call.body.get("priority") else None

    with Loopback(as_vllm(IDS), lambda call: refuses(call) if call.method == "POST" else None) as server:
        assert all(answer.error is None for answer in answers_of(started(server), requests(3)).values())
        assert all("priority" not in call.body for call in asked_about(server))
    with Loopback(as_vllm(IDS)) as server:
        answers_of(started(server), requests(3))
        assert {call.body["prompt"][0]: call.body["priority"] for call in asked_about(server)} == {1: 0, 2: 1, 3: 2}


def test_a_server_that_says_less_than_it_could_is_told_of(started):
    def silent(call):
        status, said = as_vllm(IDS)(call)
        said.pop("metrics", None)
        return status, said

    told = []
    with Loopback(silent) as server:
        started(server, tell=told.append)
    assert "--enable-per-request-metrics" in told[0]
    assert "--enable-prompt-tokens-details" not in told[0]


def test_a_step_without_an_answer_ends_soon_and_a_signal_ends_it_at_once(started):
    def stop(number, frame):
        raise Stopped(number)

    with Loopback(as_vllm(IDS), after_the_probes(lambda call: Fault(delay_s=30))) as server:
        engine = started(server)
        engine.submit(requests(1)[0], 0)
        began = time.monotonic()
        assert engine.step() == []
        assert 0.5 < time.monotonic() - began < 5
        before = signal.signal(signal.SIGALRM, stop)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            began = time.monotonic()
            with pytest.raises(Stopped):
                engine.step()
            assert time.monotonic() - began < 0.9
        finally:
            signal.signal(signal.SIGALRM, before)
        engine.abort()
        assert engine.unfinished == 0


def test_what_is_given_up_does_not_answer_later(started):
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: Fault(delay_s=2) if call.number == 1 else None)) as server:
        engine = started(server)
        asked = requests(3)
        for request in asked:
            engine.submit(request, 0)
        assert engine.step() == []
        engine.abort()
        assert list(answers_of(engine, asked[:1])) == [asked[0].key]
        assert engine.step() == []


def test_trouble_is_told_once_in_a_while(started):
    told = []
    with Loopback(as_vllm(IDS), after_the_probes(lambda call: Fault(status=503, delay_s=0.02) if call.number < 3 else None)) as server:
        engine = started(server, tell=told.append)
        for request in requests(8):
            answers_of(engine, [request])
    assert len(told) == 1
    assert "503" in told[0]


def test_pauses_grow_up_to_a_bound_and_are_drawn_from_nothing_to_all_of_it():
    assert [pause(tried, 0.5, 30, 1.0) for tried in range(9)] == [0, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert pause(5, 0.5, 30, 0.0) == 0
    assert pause(5, 0.5, 30, 0.25) == 2


def test_a_server_says_seconds_or_a_date_to_come_back_at():
    now = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
    assert asked_to_wait("120", now) == 120
    assert asked_to_wait("Fri, 20 Nov 2026 12:00:30 GMT", now) == 30
    assert asked_to_wait("Fri, 20 Nov 2026 11:00:00 GMT", now) == 0
    assert (asked_to_wait("soon", now), asked_to_wait(None, now), asked_to_wait("-5", now)) == (None, None, 0)
