"""`plan --workers`: the work that it simulates is the work that the plan tells of, and the page says what limits it."""

import json
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from test_plan import SAMPLE, handlers, nights, on_sample  # noqa: F401 - fixtures

from jobs.plan_page import page
from pipeline import scaled_plan
from pipeline.costs import CostModel
from pipeline.foreseen import Foreseen
from pipeline.job import Job
from pipeline.order import ORDERS
from pipeline.planning import plan
from pipeline.records import Request, Sampling
from pipeline.scaled_plan import Fleet
from pipeline.simulation.workload import blank

RATES = CostModel(0.02, 1 / 600, 1 / 200)


@pytest.fixture
def planned(on_sample, monkeypatch):  # noqa: F811
    """A function: the plan of the sample for so many workers, and the work that was simulated for it."""
    dump = on_sample.folder / "dump.parquet"
    dump.write_bytes(Path(SAMPLE).read_bytes())
    machine = on_sample.machine()
    machine.engine_settings = {**machine.engine_settings, "max_num_seqs": 32, "max_num_batched_tokens": 1024, "max_model_len": 4096}
    made = scaled_plan.work_of

    def make(workers, exact=10**6):
        seen = []
        monkeypatch.setattr(scaled_plan, "work_of", lambda *given: seen.append(given) or made(*given))
        job = Job([str(dump)], on_sample.folder / "out", store=None)
        return plan(job, ORDERS["restaurant"], machine, lambda _: None, exact, Fleet(workers, rates=RATES)), seen[0]

    return make


def asked_in(workload):
    found = Counter()
    for place in range(len(workload.restaurants)):
        for stage in workload.bundle(place).stages:
            for ask in stage.asks:
                found[ask.request.task, ask.request.stage] += 1
    return found


def test_the_work_of_a_plan_is_what_the_plan_says_is_asked(planned):
    told, (workload, weights, *_) = planned(4)
    found = asked_in(workload)
    for (task, stage), amount in told.amounts:
        if stage == "calibrate" or amount.requests < 1:
            continue
        if amount.certainty == "exact":
            assert found[task, stage] == amount.requests, stage
        else:
            assert found[task, stage] == pytest.approx(amount.requests, abs=1), stage
    tokens = sum(
        len(ask.request.prompt)
        for place in range(len(workload.restaurants))
        for stage in workload.bundle(place).stages
        for ask in stage.asks
    )
    assert tokens == pytest.approx(sum(one.prompt_tokens for (_, stage), one in told.amounts if stage != "calibrate"), rel=0.02)
    assert weights.keys() == {one.restaurant_id for one in workload.restaurants}


def test_one_worker_takes_what_the_plan_says_that_the_run_takes(planned):
    told, _ = planned(1)
    (one,) = told.on_workers.found
    computed = sum(amount.prompt_tokens - amount.cached_tokens for _, amount in told.amounts)
    written = sum(told.output_tokens.values())
    engine_s = one.phases.calibrate_s + one.phases.first_s + one.phases.second_s
    assert 0.95 * RATES.seconds(computed, written) < engine_s < 1.2 * RATES.seconds(computed, written)


def test_more_workers_take_less_time_and_none_takes_none(planned):
    found = planned(8)[0].on_workers.found
    assert [one.workers for one in found] == [1, 2, 4, 8]
    assert found[0].efficiency == 1.0
    assert all(later.seconds <= one.seconds * 1.01 for one, later in pairwise(found))
    assert all(0 < later.efficiency < one.efficiency for one, later in pairwise(found))


def test_a_plan_by_bytes_simulates_its_sample(planned):
    exactly, by_bytes = planned(2)[0].on_workers, planned(2, exact=0)[0].on_workers
    assert by_bytes.method == "simulated"  # of so few restaurants all are in the sample
    assert by_bytes.found[1].seconds == pytest.approx(exactly.found[1].seconds, rel=0.05)


def test_where_there_is_more_than_can_be_simulated_it_goes_by_lines(planned, monkeypatch):
    monkeypatch.setattr(scaled_plan, "EXACT_REQUESTS", 10)
    exactly = planned(2)[0].on_workers
    assert exactly.method == "sampled"
    assert exactly.found[0].seconds > 10


def test_the_page_ends_with_a_row_for_each_number_of_workers(planned):
    lines = page(planned(3)[0]).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("on workers, on paper (every request simulated"))
    assert [line.split()[0] for line in lines[start + 2 : start + 5]] == ["1", "2", "3"]
    assert "efficiency" in lines[start + 1]


def test_without_workers_neither_page_nor_json_speak_of_them(planned):
    told = replace(planned(2)[0], on_workers=None)
    assert "on workers" not in page(told)
    assert "on_workers" not in told.plain()


def test_the_command_prints_them_as_json():
    from jobs.plan import plan as command

    given = [SAMPLE, "--no-store", "--output", "none", "--workers", "2", "--bandwidth", "100", "--device", "cpu", "--json"]
    done = CliRunner().invoke(command, given)
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)["on_workers"]
    assert [one["workers"] for one in found["scaled"]] == [1, 2]
    assert found["method"] == "simulated"
    assert sum(found["scaled"][1]["spent"].values()) == pytest.approx(1.0)


def test_requests_that_are_only_likely_are_as_many_as_expected():
    foreseen = Foreseen()
    for place in range(100):
        foreseen.expect("strengths", "praise", "r", 0.3, tokens=10 + place)
    foreseen.expect("strengths", "tone", "r", 2.4, tokens=5)
    foreseen.ask(Request("", "sentiment", "label", "r", blank(7), Sampling(1)))
    found = asked_in(foreseen.workload({}, 4, RATES))
    assert found == {("strengths", "praise"): 30, ("strengths", "tone"): 2, ("sentiment", "label"): 1}
