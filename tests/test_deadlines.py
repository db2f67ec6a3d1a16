"""Deadlines: how they are given, who goes first because of them, and what is told about them."""

from datetime import UTC, datetime, timedelta
from statistics import fmean

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_analysis import FakeMachine, Silent, rows

from jobs.priority_options import parse_deadlines
from pipeline.analysis import analyze
from pipeline.clock import Clock
from pipeline.costs import CostModel
from pipeline.deadlines import deadline_counts, with_deadlines
from pipeline.engine_settings import settings
from pipeline.errors import BadData, NoInput
from pipeline.forecast import Predictor
from pipeline.job import Job
from pipeline.order import ORDERS, Standing
from pipeline.priorities import NoZone, Priorities, parse_moment, read_deadlines
from pipeline.schedule import Schedule
from pipeline.schemas import RESTAURANTS, frame_of
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.loop import Simulation
from pipeline.simulation.shapes import shape

SIX = datetime(2026, 11, 20, 21, tzinfo=UTC)


class Hand(Clock):
    """A clock that is set by hand, in seconds since its start."""

    at = 0.0

    @property
    def now_s(self):
        return Hand.at


@pytest.fixture(autouse=True)
def midnight():
    Hand.at = 0.0


def opened(sizes, due, order="hybrid", **priorities):
    """Who is opened in which order, a second of work a token, each taken `sizes` seconds after the one before."""
    clock = Hand()
    deadlines = {name: clock.moment(seconds) for name, seconds in due.items()}
    model = CostModel(step_s=0, prefill_s=1, decode_s=0, steps=1)
    schedule = Schedule(ORDERS[order], Priorities(deadlines=deadlines, **priorities), Predictor(model, 1, step_tokens=1), clock)
    names = []
    for one in schedule.in_turn([Standing(f"r{i}", i, size, float(size)) for i, size in enumerate(sizes)]):
        names.append(one.restaurant_id)
        Hand.at += one.prefill
        schedule.closed(one.restaurant_id)
    return names


def test_a_deadline_is_read_with_its_zone_and_refused_without():
    assert parse_moment("2026-11-21T06:00+09:00") == SIX
    with pytest.raises(NoZone, match="names no time zone"):
        parse_moment("2026-11-21T06:00")
    with pytest.raises(ValueError, match="no ISO time"):
        parse_moment("tomorrow")


def test_a_deadline_may_be_said_as_a_time_from_now():
    before = datetime.now(UTC)
    found = parse_deadlines(None, None, ["17=+2h", "18=+45s"])
    after = datetime.now(UTC)
    assert before + timedelta(hours=2) <= found["17"] <= after + timedelta(hours=2)
    assert before + timedelta(seconds=45) <= found["18"] <= after + timedelta(seconds=45)


def test_deadlines_of_a_later_pass_are_as_far_away_as_those_of_the_first():
    began = datetime.now(UTC) - timedelta(minutes=5)
    given = Priorities(frozenset({"a"}), {"a": began + timedelta(hours=1)}, max_overtake=7)
    found = given.counted_from(began)
    assert abs(found.deadlines["a"] - (datetime.now(UTC) + timedelta(hours=1))) < timedelta(seconds=10)
    assert (found.urgent, found.max_overtake) == (given.urgent, 7)


@pytest.mark.parametrize("kind", ["csv", "text", "moment", "numbers"])
def test_deadlines_come_from_csv_and_parquet_alike(tmp_path, kind):
    path = tmp_path / ("d.csv" if kind == "csv" else "d.parquet")
    table = pl.DataFrame({"restaurant_id": [17, 18, 17], "deadline": ["2026-11-21T05:00+09:00", None, "2026-11-21T06:00+09:00"]})
    if kind == "csv":
        table.write_csv(path)
    else:
        names = pl.col("restaurant_id") if kind == "numbers" else pl.col("restaurant_id").cast(pl.String)
        moments = pl.col("deadline").str.to_datetime(time_zone="UTC") if kind == "moment" else pl.col("deadline")
        table.with_columns(names, moments).write_parquet(path)
    assert read_deadlines(path) == {"17": SIX}


def test_a_file_of_deadlines_that_cannot_be_used_says_why(tmp_path):
    path = tmp_path / "d.parquet"
    with pytest.raises(NoInput, match="no such file"):
        read_deadlines(path)
    path.write_text("no parquet")
    with pytest.raises(BadData, match="cannot be read as Parquet"):
        read_deadlines(path)
    pl.DataFrame({"restaurant": ["a"], "deadline": [SIX]}).write_parquet(path)
    with pytest.raises(BadData, match="no column restaurant_id among restaurant, deadline"):
        read_deadlines(path)
    pl.DataFrame({"restaurant_id": ["a"], "deadline": [SIX.replace(tzinfo=None)]}).write_parquet(path)
    with pytest.raises(NoZone, match="names no time zone"):
        read_deadlines(path)
    pl.DataFrame({"restaurant_id": ["a"], "deadline": [7]}).write_parquet(path)
    with pytest.raises(BadData, match="no ISO time"):
        read_deadlines(path)


def test_a_deadline_that_the_order_would_miss_moves_its_restaurant_to_the_front_and_nobody_else():
    sizes = [10, 20, 30, 40, 200]
    assert opened(sizes, {}) == ["r0", "r1", "r2", "r3", "r4"]
    assert opened(sizes, {"r3": 45.0}) == ["r3", "r0", "r1", "r2", "r4"]
    assert opened(sizes, {"r3": 1000.0}) == ["r0", "r1", "r2", "r3", "r4"]


def test_of_two_deadlines_in_danger_the_earlier_goes_first_and_one_that_has_passed_after_both():
    assert opened([10, 300, 300, 300], {"r1": -5.0, "r2": 800.0, "r3": 400.0}) == ["r3", "r2", "r1", "r0"]


@pytest.mark.parametrize("order", sorted(set(ORDERS) - {"hybrid"}))
def test_other_orders_than_hybrid_do_not_act_on_deadlines(order):
    assert opened([10, 20, 30], {"r2": 1.0}, order) == opened([10, 20, 30], {}, order)


def test_a_run_that_is_slower_than_predicted_moves_a_deadline_to_the_front_in_time():
    clock = Hand()
    schedule = Schedule(
        ORDERS["hybrid"],
        Priorities(deadlines={"r9": clock.moment(2000.0)}),
        Predictor(CostModel(step_s=0, prefill_s=1, decode_s=0, steps=1), 1, step_tokens=1),
        clock,
    )
    turns = schedule.in_turn([Standing(f"r{i}", i, 50, 50.0) for i in range(40)])
    names = []
    for one in turns:
        names.append(one.restaurant_id)
        Hand.at += 4 * one.prefill
        schedule.closed(one.restaurant_id)
    assert names.index("r9") * 200 + 200 <= 2000


@pytest.mark.parametrize(("seed", "name", "room"), [(1, "r0000025", 1.8), (2, "r0000012", 2.0), (2, "r0000034", 1.2)])
def test_a_deadline_is_met_although_every_token_of_a_long_text_waits_for_a_full_step(seed, name, room):
    engine, rates = shape(settings("cpu"), "continuous", blocks=2910), CostModel(0.071, 0.00152, 0.0034)

    def run(order, **priorities):
        return Simulation(Drawn(40, seed, text_tokens=150), ORDERS[order], engine, rates, priorities=Priorities(**priorities)).run()

    def finished(timeline):
        return dict(timeline.restaurants.select("restaurant_id", "finished_s").iter_rows())

    due = room * finished(run("restaurant", urgent=frozenset({name})))[name]
    before, hybrid = finished(run("restaurant")), run("hybrid", deadlines={name: datetime.now(UTC) + timedelta(seconds=due)})
    after = finished(hybrid)
    assert after[name] <= due < before[name]
    own = hybrid.requests.filter(pl.col("arrival") == int(name[1:]))
    inserted = rates.seconds((own["prompt_tokens"] - own["cached_tokens"]).sum(), own["output_tokens"].sum())
    moved = [after[other] - before[other] for other in before if other != name]
    assert fmean(moved) <= inserted
    # Whoever finds its places among the running taken waits there until a text is done.
    assert max(moved) <= inserted + own["output_tokens"].max() * hybrid.seconds / hybrid.steps


@given(st.lists(st.integers(1, 50), min_size=1, max_size=15), st.data())
def test_everybody_is_opened_once_whatever_deadlines_urgency_and_bound(sizes, data):
    Hand.at = 0.0
    names = [f"r{i}" for i in range(len(sizes))]
    due = data.draw(st.dictionaries(st.sampled_from(names), st.floats(-100, 2000)))
    urgent = data.draw(st.sets(st.sampled_from(names)))
    most = data.draw(st.none() | st.integers(0, 200))
    found = opened(sizes, due, urgent=frozenset(urgent), max_overtake=most)
    assert sorted(found) == sorted(names)
    assert set(found[: len(urgent)]) == urgent


def test_a_time_to_wait_becomes_tokens_by_the_predicted_rate():
    schedule = Schedule(ORDERS["restaurant"], Priorities(max_wait=timedelta(seconds=10)))
    list(schedule.in_turn([Standing("a", 0, 3000, 5.0), Standing("b", 1, 1000, 3.0)]))
    assert schedule.max_overtake == 5000


def test_what_was_met_and_missed_by_status_and_time():
    made = [
        {"restaurant_id": "in-time", "status": "ok", "finished_s": 59.0, "reused": False},
        {"restaurant_id": "late", "status": "ok", "finished_s": 61.0, "reused": False},
        {"restaurant_id": "partial", "status": "partial", "finished_s": 60.0, "reused": False},
        {"restaurant_id": "failed", "status": "failed", "finished_s": 1.0, "reused": False},
        {"restaurant_id": "pending", "status": "pending", "finished_s": 0.0, "reused": False},
        {"restaurant_id": "carried", "status": "ok", "finished_s": None, "reused": True},
        {"restaurant_id": "carried-failed", "status": "failed", "finished_s": None, "reused": True},
        {"restaurant_id": "none", "status": "ok", "finished_s": 1.0, "reused": False},
    ]
    table = frame_of(made, RESTAURANTS)
    told = with_deadlines(table, dict.fromkeys((row["restaurant_id"] for row in made[:-1]), SIX), SIX - timedelta(minutes=1))
    assert dict(told.schema) == RESTAURANTS
    assert dict(told.select("restaurant_id", "deadline_met").iter_rows()) == {
        "in-time": True,
        "late": False,
        "partial": True,
        "failed": False,
        "pending": False,
        "carried": True,
        "carried-failed": False,
        "none": None,
    }
    assert told["deadline"].to_list() == [SIX] * 7 + [None]
    assert deadline_counts(told) == {"met": 3, "missed": 4, "missed_by": ["carried-failed", "failed", "late", "pending"]}
    assert deadline_counts(table) is None


class Telling(Silent):
    def __init__(self):
        self.said = []

    def stage(self, what):
        self.said.append(what)

    def warn(self, what):
        self.said.append(f"warning: {what}")


def test_a_run_tells_of_deadlines_in_table_and_manifest_warns_of_unknown_ones_and_a_second_run_has_met_them(nights):
    now = datetime.now(UTC)
    given = {"r0": now + timedelta(hours=1), "r1": now - timedelta(hours=1), "r9": now}
    made = rows([3, 2, 4])
    night = nights.run(made, order="hybrid", priorities=Priorities(frozenset({"r8"}), given, max_overtake=50))
    found = night.restaurants
    assert {name: (row["deadline"] is not None, row["deadline_met"]) for name, row in found.items()} == {
        "r0": (True, True),
        "r1": (True, False),
        "r2": (False, None),
    }
    manifest = night.done.manifest
    assert (manifest["order"], manifest["max_overtake"], manifest["urgent"]) == ("hybrid", 50, ["r8"])
    assert manifest["deadlines"] == {"met": 1, "missed": 1, "missed_by": ["r1"]}
    progress = Telling()
    job = Job([str(nights.folder / "dump.parquet")], nights.folder / "other", priorities=Priorities(frozenset({"r8"}), given))
    analyze(job, ORDERS["hybrid"], FakeMachine(nights._model), progress)
    assert any("warning" in line and line.endswith("r8, r9") for line in progress.said)
    assert any(line.startswith("no costs were measured before") for line in progress.said)
    again = nights.run(rows([3, 2, 5]), order="fifo", priorities=Priorities(deadlines={"r1": now - timedelta(hours=1)}))
    assert again.restaurants["r1"]["deadline_met"] is True
    assert again.restaurants["r0"]["deadline"] is None
