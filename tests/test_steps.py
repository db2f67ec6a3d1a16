"""Steps as vLLM tells of them, and the log that holds them."""

from types import SimpleNamespace

import pytest

from pipeline import steps
from pipeline.costs import Step
from pipeline.steps import StepLog, StepRecorder


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(steps, "time", clock)
    return clock


def used():
    """A log whose engine is warm."""
    log = StepLog()
    log.add(Step(20.0, 1, 1, 0, 0))
    return log


def scheduled(prompt=0, generating=0, generated=None, **counts):
    details = SimpleNamespace(
        num_ctx_tokens=prompt,
        num_ctx_requests=bool(prompt) * 2,
        num_generation_requests=generating,
        num_generation_tokens=generating if generated is None else generated,
    )
    return SimpleNamespace(iteration_details=details, **{"num_running_reqs": 3, "num_waiting_reqs": 2, **counts})


def iteration(tokens, computed=0, ended=0):
    computed = SimpleNamespace(computed=computed)
    return SimpleNamespace(num_generation_tokens=tokens, prompt_token_stats=computed, finished_requests=[None] * ended)


def test_the_parts_of_one_prompt_count_in_the_steps_that_compute_them(clock):
    log = used()
    recorder = StepRecorder(log)
    recorder.begin()
    clock.now += 3
    recorder.record(scheduled(2048), None)  # no output yet
    clock.now += 1
    recorder.record(scheduled(500), iteration(1, computed=2548))
    clock.now += 0.5
    recorder.record(scheduled(0, generating=1), iteration(1))
    assert log.kept == [Step(3.0, 2048, 0, 3, 2, 2), Step(1.0, 500, 1, 3, 2, 2), Step(0.5, 0, 1, 3, 2, 1)]


def test_time_without_work_belongs_to_no_step(clock):
    log = used()
    recorder = StepRecorder(log)
    clock.now += 50
    recorder.begin()
    clock.now += 2
    recorder.record(scheduled(10), iteration(1))
    clock.now += 30
    recorder.begin()
    clock.now += 1
    recorder.record(scheduled(10), iteration(1))
    assert [step.seconds for step in log.kept] == [2.0, 1.0]


def test_a_call_that_computed_nothing_passes_its_time_on(clock):
    log = used()
    recorder = StepRecorder(log)
    recorder.begin()
    clock.now += 1
    recorder.record(SimpleNamespace(iteration_details=None, num_running_reqs=1, num_waiting_reqs=0), None)
    clock.now += 1
    recorder.record(scheduled(5), iteration(1))
    assert [step.seconds for step in log.kept] == [2.0]


def test_without_the_schedulers_count_a_prompt_counts_with_its_first_token(clock):
    log = used()
    recorder = StepRecorder(log)
    recorder.begin()
    clock.now += 1
    recorder.record(SimpleNamespace(num_running_reqs=0, num_waiting_reqs=0), iteration(2, computed=300))
    assert log.kept == [Step(1.0, 300, 2, 0, 0)]


def test_tokens_that_are_computed_again_after_a_preemption_count_as_computed(clock):
    log = used()
    recorder = StepRecorder(log)
    recorder.begin()
    clock.now += 1
    recorder.record(scheduled(10, generating=2, generated=401), iteration(3))
    assert (log.kept[0].prefilled, log.kept[0].decoded) == (409, 3)


def test_the_sums_are_of_all_steps_and_the_kept_ones_are_bounded(monkeypatch):
    monkeypatch.setattr(steps, "MOST_KEPT", 10)
    log = used()
    for i in range(1000):
        log.add(Step(1.0, i, 1, 0, 0))
    assert len(log.kept) <= 10
    assert log.spent == steps.Spent(1000.0, 1000, 499_500, 1000, 20.0)
    places = [step.prefilled for step in log.kept]
    assert places == list(range(0, 1000, places[1]))


def test_an_engines_first_step_is_its_warm_up_and_in_no_other_sum():
    log = used()
    assert log.kept == []
    assert log.spent == steps.Spent(warm_up_s=20.0)


def test_what_was_spent_since_a_moment():
    log = used()
    log.add(Step(1.0, 10, 1, 0, 0))
    before = log.spent
    log.add(Step(2.0, 20, 2, 0, 0))
    assert log.spent - before == steps.Spent(2.0, 1, 20, 2)


def test_the_steps_since_a_moment_are_told_also_where_every_second_one_was_left_out_meanwhile(monkeypatch):
    monkeypatch.setattr(steps, "MOST_KEPT", 8)
    log = used()
    for number in range(6):
        log.add(Step(1.0, number, 0, 1, 0))
    before = log.spent
    for number in range(6, 14):
        log.add(Step(1.0, number, 0, 1, 0))
    since = [one.prefilled for one in log.since(before)]
    assert since == [one.prefilled for one in log.kept if one.prefilled >= 6]
    assert len(since) >= 3
    assert log.since(log.spent) == []


def test_a_step_says_for_how_many_of_those_inside_something_was_computed(clock):
    log = used()
    recorder = StepRecorder(log)
    recorder.begin()
    clock.now += 1
    recorder.record(scheduled(10, generating=3), iteration(4, ended=2))
    (step,) = log.kept
    assert (step.sequences, step.inside) == (5, 3 + 2 + 2)


def test_time_inside_the_engine_counts_from_its_second_step_on():
    log = StepLog()
    log.add(Step(20.0, 1, 1, 0, 0))
    log.stepped(20.0)
    log.add(Step(2.0, 1, 1, 0, 0))
    log.stepped(1.5)
    assert log.spent == steps.Spent(2.0, 1, 1, 1, 20.0, 1.5)
