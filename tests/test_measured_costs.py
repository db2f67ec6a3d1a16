"""What requests took, by task and stage; and what a whole run says and keeps of it."""

import json
from dataclasses import replace

import polars as pl
import pytest
from deterministic_engine import DeterministicEngine
from test_service_levels import request

from jobs.cost_lines import cost_lines, level_lines
from pipeline.costs import CostModel, Step
from pipeline.measured_costs import by_task
from pipeline.schemas import REQUESTS, frame_of
from pipeline.service_levels import ServiceLevel
from pipeline.steps import StepLog

RATES = CostModel(0.01, 0.002, 0.02)
TRUE = CostModel(0.5, 0.001, 0.03)


def rows_of(requests, seconds=10.0):
    made = [{"stage": "label", "queue_s": 0.5, "prefill_s": 0.25, "decode_s": 0.0} | one for one in requests]
    return {(row["task"], row["stage"]): row for row in by_task(frame_of(made, REQUESTS), seconds, RATES)}


def test_percentiles_and_means_are_of_the_requests_that_were_asked():
    rows = rows_of([request("a", first=float(i)) for i in range(101)] + [request("a", first=999.0, reused=True)])
    assert rows["sentiment", None]["requests"] == 101
    assert rows["sentiment", None]["first_token_s"] == {"mean": 50.0, "p50": 50.0, "p95": 95.0, "p99": 99.0}
    assert rows["sentiment", None]["queue_s"]["p50"] == 0.5


def test_the_engines_seconds_are_divided_among_the_tasks_by_tokens_that_were_computed():
    requests = [
        request("a", prompt_tokens=1000, cached_tokens=500, output_tokens=0),  # 500 x 0.002 = 1
        request("a", "summary", stage="part", prompt_tokens=500, output_tokens=50),  # 500 x 0.002 + 50 x 0.02 = 2
        request("a", "summary", stage="merge", prompt_tokens=0, output_tokens=50),  # 1
    ]
    rows = rows_of(requests)
    assert {name: row["engine_s"] for name, row in rows.items()} == pytest.approx(
        {("sentiment", None): 2.5, ("sentiment", "label"): 2.5, ("summary", None): 7.5, ("summary", "part"): 5.0, ("summary", "merge"): 2.5}
    )
    assert rows["sentiment", None]["ms_per_token"] == pytest.approx(5.0)
    assert rows["summary", "merge"]["ms_per_token"] == pytest.approx(50.0)


def test_without_steps_and_timings_counts_remain_and_seconds_are_null():
    rows = rows_of([request("a", first=None, queue_s=None, prefill_s=None, decode_s=None)], seconds=None)
    row = rows["sentiment", None]
    assert (row["requests"], row["prompt_tokens"], row["engine_s"], row["ms_per_token"]) == (1, 100, None, None)
    assert set(row["first_token_s"].values()) == {None}


def test_nothing_asked_is_no_row():
    assert by_task(pl.DataFrame(schema=REQUESTS), None, RATES) == []


class TimedEngine(DeterministicEngine):
    """Writes invented steps down, and seconds in its answers."""

    def __init__(self, rates=TRUE, **engine):
        super().__init__(**engine)
        self.steps, self._rates = StepLog(), rates

    def step(self):
        answers = [replace(one, queue_s=0.1, prefill_s=0.2, decode_s=0.3, first_token_s=0.35) for one in super().step()]
        prefilled, decoded = (sum(getattr(one, name) for one in answers) for name in ("prompt_tokens", "output_tokens"))
        self.steps.add(Step(self._rates.seconds(prefilled, decoded, 1), prefilled, decoded, 0, 0))
        return answers


@pytest.fixture
def timed(nights):
    """Runs with an engine of these rates, and returns the night with its manifest's costs."""

    def run(made, rates=TRUE, **job):
        machine = nights.machine()
        machine.engine = lambda model: machine.engines.append(TimedEngine(rates)) or machine.engines[-1]
        night = nights.run(made, machine, **job)
        return night, json.loads(night.done.manifest_path.read_text())["costs"]

    return run


def dump(name, sizes):
    return [
        {"restaurant_id": f"{name}{i}", "review_id": f"{i}-{j}", "text": f"{name} dish {j} of place {i}, " + "nice " * (j % 9)}
        for i, size in enumerate(sizes)
        for j in range(size)
    ]


def test_a_run_is_predicted_by_the_one_before_on_other_restaurants(timed):
    _, first = timed(dump("a", [30, 8, 17, 25]))
    _, second = timed(dump("b", [5, 90, 42]), output="other")
    assert (first["model"]["before"]["steps"], second["model"]["before"]["steps"]) == (0, first["model"]["after"]["steps"])
    assert first["model"]["relative_error"] > 0.15
    assert second["model"]["relative_error"] < 0.02
    assert second["model"]["predicted_s"] == pytest.approx(second["model"]["measured_s"], rel=0.02)
    assert second["model"]["after"]["error"] == second["model"]["relative_error"]
    assert second["model"]["after"]["steps"] > first["model"]["after"]["steps"]
    assert second["model"]["predicted_output_tokens"] == pytest.approx(second["model"]["output_tokens"], rel=0.2)


def test_calibrating_is_no_part_of_a_runs_costs(timed):
    night, costs = timed(dump("a", [3]))
    paid = night.tables["requests"].filter(~pl.col("reused"))
    assert costs["engine"]["prefilled"] == paid["prompt_tokens"].sum()
    assert sum(row["engine_s"] for row in costs["tasks"] if row["stage"] is None) == pytest.approx(costs["engine"]["seconds"], rel=1e-3)


def test_steps_of_an_engine_that_served_others_before_are_not_this_runs(nights):
    used = TimedEngine()
    for _ in range(2):
        used.steps.add(Step(1000.0, 10**6, 10**6, 0, 0))
    machine = nights.machine()
    machine.engine = lambda model: used
    night = nights.run(dump("a", [3]), machine)
    assert night.done.manifest["costs"]["engine"]["seconds"] < 100


def test_every_request_carries_its_seconds_and_a_reused_one_none(timed):
    timed(dump("a", [4]))
    night, _ = timed(dump("a", [5]))
    requests = night.tables["requests"]
    seconds = ["queue_s", "prefill_s", "decode_s", "first_token_s"]
    assert requests.filter("reused").height > 0
    assert requests.filter("reused").select(pl.all_horizontal(pl.col(seconds).is_null()).all()).item()
    assert set(requests.filter(~pl.col("reused")).select(seconds).rows()) == {(0.1, 0.2, 0.3, 0.35)}


def test_a_run_whose_engine_writes_no_steps_says_so_and_keeps_no_model(nights):
    night = nights.run(dump("a", [3]))
    costs = night.done.manifest["costs"]
    assert (costs["engine"]["steps"], costs["model"]["measured_s"], costs["model"]["relative_error"]) == (0, None, None)
    assert not (nights.folder / "store" / "costs").exists()
    assert "prediction" not in cost_lines(costs)


def test_the_closing_lines_name_tasks_prediction_and_levels(timed):
    levels = (ServiceLevel("ttft", 0.1), ServiceLevel("restaurant", 600.0))
    night, costs = timed(dump("a", [30, 8, 17, 25]), service_levels=levels)
    lines = cost_lines(costs)
    assert [name.strip() for name in lines] == ["cost", "sentiment", "strengths", "summary", "prediction"]
    assert "0.35 / 0.35 / 0.35" in lines["  sentiment"]
    assert "rates assumed" in lines["prediction"]
    said = level_lines(night.done.manifest["service_levels"])
    assert said["ttft"].startswith("0.1 s: 0 of ")
    assert said["restaurant"].startswith("600 s: 4 of 4 (100%); sentiment 100%, strengths 100%, summary 100%; a second ")
