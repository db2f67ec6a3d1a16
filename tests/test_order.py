"""Which request goes next."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.order import ORDERS, Standing, choose, prefill_cost, rank
from pipeline.records import Request, Sampling


def request(task="sentiment", size=10, restaurant="a", chunk=0, shared=0, key="k", common=0):
    return Request(key, task, "stage", restaurant, np.zeros(size, dtype=np.uint32), Sampling(1), chunk, shared, common)


def place(order, request, *, cost=0, arrival=0, number=0, **standing):
    return ORDERS[order].key(request, Standing(request.restaurant_id, arrival, cost, **standing), number)


def test_restaurant_order_prefers_the_cheaper_restaurant_even_with_longer_prompts():
    cheap = place("restaurant", request(size=500, restaurant="z"), cost=600, arrival=9)
    dear = place("restaurant", request(size=10, restaurant="a"), cost=601, arrival=0)
    assert cheap < dear


def test_prompt_order_prefers_the_shorter_prompt():
    assert place("prompt", request(size=10), cost=900) < place("prompt", request(size=11), cost=1)


def test_task_order_puts_sentiment_before_summary_before_strengths_across_restaurants():
    keys = [place("task", request(task=task), arrival=arrival) for arrival, task in ((2, "sentiment"), (1, "summary"), (0, "strengths"))]
    assert keys == sorted(keys)


def test_fifo_order_follows_arrival_whatever_the_cost():
    assert place("fifo", request(size=900, restaurant="z"), cost=900, arrival=0) < place("fifo", request(), cost=1, arrival=1)


@pytest.mark.parametrize("order", ["restaurant", "fifo"])
def test_requests_that_share_a_chunk_stay_adjacent(order):
    requests = [
        request(task, chunk=chunk, shared=shared)
        for chunk in (0, 1)
        for task, shared in (("strengths", 5), ("sentiment", 0), ("summary", 5))
    ]
    ordered = sorted(requests, key=lambda one: place(order, one))
    assert [(one.chunk, one.shared > 0) for one in ordered] == [(0, True), (0, True), (0, False), (1, True), (1, True), (1, False)]


@given(
    st.lists(st.tuples(st.sampled_from(["sentiment", "summary", "strengths"]), st.integers(1, 50), st.integers(0, 5)), max_size=30),
    st.sampled_from(sorted(ORDERS)),
)
def test_no_two_requests_tie_in_any_order(specs, order):
    requests = [request(task, size, restaurant=f"r{arrival}", key=str(i)) for i, (task, size, arrival) in enumerate(specs)]
    keys = [place(order, one, cost=len(one.prompt), arrival=int(one.restaurant_id[1:]), number=i) for i, one in enumerate(requests)]
    assert len(set(keys)) == len(keys)
    sorted(keys)  # comparable with each other
    assert all(isinstance(part, int) for key in keys for part in key[:3])


def test_what_a_chunk_shares_is_counted_once_per_chunk():
    of_chunk_0 = [request("summary", 110, chunk=0, shared=100), request("strengths", 120, chunk=0, shared=100)]
    of_chunk_1 = [request("summary", 60, chunk=1, shared=50)]
    assert prefill_cost([*of_chunk_0, *of_chunk_1, request(size=7)]) == (10 + 20 + 100) + (10 + 50) + 7


def test_longest_prefers_the_dearer_restaurant_and_cost_the_one_with_fewer_predicted_seconds():
    assert place("longest", request(), cost=901) < place("longest", request(), cost=900)
    assert place("cost", request(), cost=900, seconds=1.0) < place("cost", request(), cost=1, seconds=1.1)


def test_hybrid_puts_the_earliest_deadline_in_danger_first_then_small_cost_then_first_in():
    ordered = [
        place("hybrid", request(), cost=900, due=10.0),
        place("hybrid", request(), cost=100, due=20.0),
        place("hybrid", request(), cost=100, due=5.0, late=True),
        place("hybrid", request(restaurant="z"), cost=1, arrival=1),
        place("hybrid", request(restaurant="a"), cost=1, arrival=2),
        place("hybrid", request(), cost=2, arrival=0),
    ]
    assert ordered == sorted(ordered)


@pytest.mark.parametrize("order", sorted(set(ORDERS) - {"fifo"}))
def test_urgent_ones_go_first_in_every_order_but_fifo(order):
    urgent = place(order, request("strengths", 900, "z"), cost=900, arrival=9, seconds=9.0, urgent=True, turn=0)
    assert urgent < place(order, request("query_expansion", 1, "a"), cost=1, seconds=0.1, due=1.0)
    assert place("fifo", request(), urgent=True, arrival=1) > place("fifo", request(), arrival=0)


@pytest.mark.parametrize("order", sorted(ORDERS))
def test_an_earlier_turn_goes_before_whatever_the_order_would_prefer(order):
    earlier = place(order, request("strengths", 900, "z"), cost=900, arrival=9, seconds=9.0, turn=1)
    for cost in (1, 5000):  # the longest first, too
        assert earlier < place(order, request("sentiment", 1, "a"), cost=cost, seconds=cost / 1000, turn=2)


NUMBERS = st.one_of(st.integers(0, 50), st.integers(0, 1 << 40))
STANDINGS = st.builds(
    Standing,
    st.sampled_from("abc"),
    st.integers(0, 1 << 31),
    NUMBERS,
    NUMBERS.map(float),
    st.one_of(st.integers(0, 3), st.integers(0, 1 << 30)),
    st.booleans(),
    st.none() | st.floats(-1e6, 1e9),
    st.booleans(),
)


@given(
    st.lists(st.tuples(STANDINGS, st.sampled_from(["sentiment", "summary"]), st.integers(1, 9)), max_size=30),
    st.sampled_from(sorted(ORDERS)),
)
def test_what_the_engine_is_told_is_never_against_the_order_and_fits_64_bits(specs, order):
    keys = sorted(ORDERS[order].key(request(task, size), standing, 0) for standing, task, size in specs)
    ranks = [rank(key) for key in keys]
    assert ranks == sorted(ranks)
    assert all(-(1 << 63) <= one < 1 << 63 for one in ranks)


def test_the_rank_tells_urgent_from_deadline_from_turn_from_cost_and_is_the_cost_where_nothing_was_asked_for():
    ranks = [
        rank(place("hybrid", request(), cost=cost, **standing))
        for cost, standing in ((9, {"urgent": True}), (9, {"due": 1.0}), (9, {"due": 2.0}), (7, {}), (9, {}), (1, {"turn": 1}))
    ]
    assert ranks == sorted(set(ranks))
    assert rank(place("restaurant", request(), cost=1234)) == 1234
    first, second = (rank(place("task", request("summary"), arrival=arrival)) for arrival in (3, 4))
    assert first < second < rank(place("task", request("strengths"), arrival=0))


def test_only_whole_blocks_come_from_the_cache_and_never_the_one_with_the_last_token():
    chunk = [request("summary", 110, shared=100, common=40), request("strengths", 120, shared=100, common=40)]
    assert prefill_cost(chunk, block_size=32) == (110 - 32) + (120 - 96)
    assert prefill_cost([request(size=64, common=64)], block_size=32) == 32
    assert prefill_cost([request(size=65, common=64)], block_size=32) == 1
    assert prefill_cost(chunk, block_size=128) == prefill_cost(chunk, block_size=None) == 230


@pytest.mark.parametrize(
    ("explicit", "queue", "cost", "chosen"),
    [
        (None, True, True, "restaurant"),
        (None, True, False, "task"),
        (None, False, True, "fifo"),
        (None, False, False, "fifo"),
        ("prompt", False, False, "prompt"),
    ],
)
def test_the_two_switches_choose_the_order_and_an_explicit_one_wins(explicit, queue, cost, chosen):
    assert choose(explicit, queue, cost).name == chosen
