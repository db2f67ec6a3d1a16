"""The loop, driven by an engine without a model."""

from dataclasses import replace

import numpy as np
import pytest
from deterministic_engine import DeterministicEngine
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import TaskFailed
from pipeline.order import ORDERS, Standing
from pipeline.priorities import Priorities
from pipeline.records import Restaurant, Review, Sampling
from pipeline.restaurants import Tokenised
from pipeline.run import Loop
from pipeline.schedule import Schedule
from pipeline.tasks.prompts import make_request


class Relay:
    """A task of `stages` rounds, one request per review in the first and one in each of the others; returns all texts."""

    wording, overhead = "", 0

    def __init__(self, name="summary", stages=2, refuse=(), tag=None):
        self.name, self._stages, self._refuse, self._tag = name, stages, refuse, tag or name

    def plan(self, restaurant):
        if restaurant.restaurant.restaurant_id in self._refuse:
            raise TaskFailed("refused before asking")
        requests = [self._request(restaurant, 0, ids) for ids in restaurant.ids]
        texts = []
        for stage in range(self._stages):
            answers = yield requests
            for request in requests:
                if not answers[request.key].usable:
                    raise TaskFailed(answers[request.key].error or "cut off")
                texts.append(answers[request.key].text)
            requests = [self._request(restaurant, stage + 1, np.array([stage], dtype=np.uint32))]
        return texts

    def _request(self, restaurant, stage, ids):
        tag = np.frombuffer(f"{self._tag} {restaurant.restaurant.restaurant_id} {stage}".encode(), dtype=np.uint8).astype(np.uint32)
        return make_request(self.name, f"stage {stage}", restaurant.restaurant.restaurant_id, np.concatenate([tag, ids]), Sampling(4))


def tokenised(name, sizes, arrival=0):
    reviews = tuple(Review(f"{name}-{i}", "text", "en") for i in range(len(sizes)))
    ids = tuple(np.full(size, i, dtype=np.uint32) for i, size in enumerate(sizes))
    return Tokenised(Restaurant(name, reviews, arrival=arrival), ids, (range(len(sizes)),) if sizes else (), {}, 100)


def drive(restaurants, tasks, engine=None, order="restaurant"):
    return list(Loop(tasks, ORDERS[order], engine or DeterministicEngine()).run(iter(restaurants)))


DUMPS = st.lists(st.lists(st.integers(1, 30), max_size=6), max_size=8)


@given(DUMPS, st.sampled_from(sorted(ORDERS)), st.integers(0, 9), st.integers(1, 12))
def test_every_restaurant_comes_out_once_with_the_same_results_whatever_order_window_and_moment(sizes, order, seed, window):
    restaurants = [tokenised(f"r{i}", some, arrival=i) for i, some in enumerate(sizes)]
    tasks = [Relay("summary", 3), Relay("strengths", 1)]
    reference = {
        one.restaurant.restaurant_id: one.results for one in drive(restaurants, tasks, DeterministicEngine(window=1, per_step=1), "fifo")
    }
    engine = DeterministicEngine(window=window, per_step=2, seed=seed)
    outcomes = drive(restaurants, tasks, engine, order)
    assert sorted(one.restaurant.restaurant_id for one in outcomes) == sorted(reference)
    assert {one.restaurant.restaurant_id: one.results for one in outcomes} == reference
    assert engine.most_unfinished <= window


def test_the_window_stays_full_while_there_is_work():
    engine = DeterministicEngine(window=6, per_step=2)
    seen = []
    step = engine.step
    engine.step = lambda: (seen.append(engine.unfinished), step())[1]
    drive([tokenised(f"r{i}", [5] * 4, i) for i in range(10)], [Relay(stages=1)], engine)
    assert all(inside == 6 for inside in seen[:-3])


def test_restaurants_are_taken_only_as_the_window_needs_them():
    taken = []

    def source():
        for i in range(100):
            taken.append(i)
            yield tokenised(f"r{i:03}", [3, 3], i)

    loop = Loop([Relay(stages=1)], ORDERS["restaurant"], DeterministicEngine(window=4, per_step=1)).run(source())
    next(loop)
    assert len(taken) < 15


def test_a_cheap_restaurant_is_finished_before_a_dear_one_that_came_first():
    big, small = tokenised("big", [50] * 6, 0), tokenised("small", [5], 1)
    by_cost = [one.restaurant.restaurant_id for one in drive([big, small], [Relay()], DeterministicEngine(window=2, per_step=1))]
    by_arrival = [one.restaurant.restaurant_id for one in drive([big, small], [Relay()], DeterministicEngine(window=2, per_step=1), "fifo")]
    assert (by_cost, by_arrival) == (["small", "big"], ["big", "small"])


def test_a_failed_task_leaves_a_reason_and_the_other_tasks_go_on():
    engine = DeterministicEngine(fail=lambda request: request.task == "summary" and request.restaurant_id == "a")
    outcomes = {
        one.restaurant.restaurant_id: one
        for one in drive([tokenised("a", [3]), tokenised("b", [3])], [Relay("summary"), Relay("strengths")], engine)
    }
    assert (outcomes["a"].status, outcomes["a"].errors, set(outcomes["a"].results)) == (
        "partial",
        {"summary": "made to fail"},
        {"strengths"},
    )
    assert outcomes["b"].status == "ok"


def test_a_restaurant_whose_every_task_failed_is_failed():
    (outcome,) = drive([tokenised("a", [3])], [Relay("summary", refuse=("a",)), Relay("strengths", refuse=("a",))])
    assert (outcome.status, outcome.errors["summary"]) == ("failed", "refused before asking")


def test_a_cut_off_answer_is_no_result():
    (outcome,) = drive([tokenised("a", [3])], [Relay("summary")], DeterministicEngine(cut=lambda request: True))
    assert outcome.errors == {"summary": "cut off"}


def test_a_prompt_over_the_limit_never_reaches_the_engine_and_fails_alone():
    engine = DeterministicEngine(max_model_len=60)
    outcomes = {one.restaurant.restaurant_id: one for one in drive([tokenised("long", [58]), tokenised("short", [5])], [Relay()], engine)}
    assert "the engine takes 60" in outcomes["long"].errors["summary"]
    assert outcomes["short"].status == "ok"
    assert {request.restaurant_id for request in engine.submitted} == {"short"}


def test_equal_questions_under_way_are_asked_once_and_paid_once():
    engine = DeterministicEngine()
    (outcome,) = drive([tokenised("a", [3, 3])], [Relay("summary", 1), Relay("strengths", 1, tag="summary")], engine)
    keys = [request.key for request in engine.submitted]
    assert len(keys) == len(set(keys)) == 2
    assert outcome.results["summary"] == outcome.results["strengths"]
    assert sorted(asked.reused for asked in outcome.asked) == [False, False, True, True]


def test_a_restaurant_without_usable_reviews_asks_nothing_and_is_ok():
    engine = DeterministicEngine()
    (outcome,) = drive([tokenised("empty", [])], [Relay()], engine)
    assert (outcome.status, outcome.results, engine.submitted) == ("ok", {}, [])


def test_the_engine_is_told_the_rank_of_the_order():
    engine = DeterministicEngine()
    drive([tokenised("a", [3], arrival=7)], [Relay(stages=1)], engine, "fifo")
    assert engine.ranks == [7]


def test_a_second_stage_does_not_wait_behind_dearer_requests_that_are_inside_the_engine_already():
    engine = DeterministicEngine(window=6, per_step=2)
    answered = []
    step = engine.step
    engine.step = lambda: [answered.append(answer.key) or answer for answer in step()]
    drive([tokenised("cheap", [5]), tokenised("dear", [50] * 6, 1)], [Relay(stages=2)], engine)
    of = {request.key: (request.restaurant_id, request.stage) for request in engine.submitted}
    assert ("cheap", "stage 1") in [of[key] for key in answered[:4]]


def urgent_last(order="restaurant", **priorities):
    """Twelve restaurants, the last and dearest of them urgent, admitted as a run does; who was submitted, in order."""
    restaurants = {f"r{i}": tokenised(f"r{i}", [5 + i] * 3, i) for i in range(12)}
    engine = DeterministicEngine(window=4, per_step=2)
    schedule = Schedule(ORDERS[order], Priorities(**priorities))
    standings = schedule.in_turn(Standing(name, one.restaurant.arrival, 100) for name, one in restaurants.items())

    def admitted():
        for standing in standings:
            one = restaurants[standing.restaurant_id]
            yield replace(one, restaurant=replace(one.restaurant, urgent=standing.urgent, turn=standing.turn))

    outcomes = list(Loop([Relay(stages=2)], schedule, engine).run(admitted()))
    assert len(outcomes) == 12
    return [request.restaurant_id for request in engine.submitted], outcomes


@pytest.mark.parametrize("order", sorted(set(ORDERS) - {"fifo"}))
def test_an_urgent_restaurant_is_first_submitted_and_first_complete_in_every_order_but_fifo(order):
    submitted, outcomes = urgent_last(order, urgent=frozenset({"r11"}))
    assert submitted[:3] == ["r11"] * 3
    assert outcomes[0].restaurant.restaurant_id == "r11"
    assert urgent_last("fifo", urgent=frozenset({"r11"}))[0][:3] == ["r0"] * 3


def test_a_question_that_an_urgent_restaurant_shares_is_not_left_behind():
    class Shared(Relay):
        def _request(self, restaurant, stage, ids):
            return make_request(self.name, f"stage {stage}", restaurant.restaurant.restaurant_id, ids, Sampling(4))

    rest = [tokenised(f"r{i}", [5 + i] * 4, i) for i in range(9)]
    same, late = (tokenised(name, [60] * 4, 9) for name in ("same", "urgent"))
    urgent = replace(late, restaurant=replace(late.restaurant, urgent=True))
    for together in ([same, *rest[:2], urgent, *rest[2:]], [same, *rest[:7], urgent, *rest[7:]]):  # asked at once; ready for a while
        engine = DeterministicEngine(window=8, per_step=1)
        list(Loop([Shared(stages=1)], ORDERS["restaurant"], engine).run(iter(together)))
        places = [i for i, request in enumerate(engine.submitted) if request.restaurant_id == "same"]
        assert len(engine.submitted) == 9 * 4 + 4
        assert places[-1] <= (3 if together.index(urgent) == 3 else 4 * 5)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(0, 60), st.sampled_from(sorted(ORDERS)), st.integers(1, 4))
def test_in_the_loop_nobody_starts_later_than_the_bound_allows(sizes, most, order, window):
    restaurants = [tokenised(f"r{i}", [1] * (1 + size % 3), i) for i, size in enumerate(sizes)]
    schedule = Schedule(ORDERS[order], Priorities(max_overtake=most))
    turns = schedule.in_turn(Standing(f"r{i}", i, size) for i, size in enumerate(sizes))
    admitted = (
        replace(restaurants[one.arrival], restaurant=replace(restaurants[one.arrival].restaurant, turn=one.turn, estimate=one.prefill))
        for one in turns
    )
    engine = DeterministicEngine(window=window, per_step=1)
    list(Loop([Relay(stages=2)], schedule, engine).run(admitted))
    started = list(dict.fromkeys(int(request.restaurant_id[1:]) for request in engine.submitted))
    for place, i in enumerate(started):
        assert sum(sizes[other] for other in started[:place]) <= sum(sizes[:i]) + most


def test_a_stop_between_steps_ends_the_run():
    def check():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Loop([Relay()], ORDERS["fifo"], DeterministicEngine()).run(iter([tokenised("a", [3])]), check))


def test_positions_count_submissions_and_seconds_never_run_backwards():
    outcomes = drive([tokenised(f"r{i}", [4, 4, 4], i) for i in range(4)], [Relay()], DeterministicEngine(seed=3))
    positions = sorted(asked.position for outcome in outcomes for asked in outcome.asked)
    assert positions == list(range(len(positions)))
    assert all(outcome.finished_s == max(asked.finished_s for asked in outcome.asked) for outcome in outcomes)
