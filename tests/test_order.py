"""Which request goes next."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.order import ORDERS, Standing, choose, prefill_cost
from pipeline.records import Request, Sampling


def request(task="sentiment", size=10, restaurant="a", chunk=0, shared=0, key="k"):
    return Request(key, task, "stage", restaurant, np.zeros(size, dtype=np.uint32), Sampling(1), chunk, shared)


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
