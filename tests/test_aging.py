"""How long anybody may wait."""

import heapq
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.aging import Aging

MOST = st.one_of(st.just(0), st.integers(0, 200), st.just(float("inf")))
ARRIVALS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3)), max_size=60)
"""Cost of each, and how many are taken before the next one comes."""


def serve(arrivals, most, choose, first=()):
    """Taken ones as (name, turn); `choose` picks among the waiting."""
    aging, waiting, taken = Aging(most), {}, []

    def take():
        choice = choose(waiting)
        if choice in first:
            aging.put_first(choice)
            taken.append((choice, -1))
        else:
            choice, turn = aging.take(choice)
            taken.append((choice, turn))
        del waiting[choice]

    for name, (cost, before_next) in enumerate(arrivals):
        aging.arrive(name, cost)
        waiting[name] = cost
        for _ in range(min(before_next, len(waiting))):
            take()
    while waiting:
        take()
    return taken


def latest_starts(taken, costs):
    """Tokens fed before each, where everybody else of its turn goes before it."""
    by_turn = {}
    for name, turn in taken:
        by_turn[turn] = by_turn.get(turn, 0) + costs[name]
    before, total = {}, 0
    for turn in sorted(by_turn):
        before[turn] = total
        total += by_turn[turn]
    return {name: before[turn] + by_turn[turn] - costs[name] for name, turn in taken}


@pytest.mark.parametrize("rule", ["smallest", "largest", "latest", "any"])
@given(arrivals=ARRIVALS, most=MOST, data=st.data())
def test_nobody_starts_later_than_first_in_first_out_and_the_bound_whatever_the_order_and_whoever_comes_later(rule, arrivals, most, data):
    choose = {
        "smallest": lambda waiting: min(waiting, key=lambda name: (waiting[name], name)),
        "largest": lambda waiting: max(waiting, key=lambda name: (waiting[name], name)),
        "latest": max,
        "any": lambda waiting: data.draw(st.sampled_from(sorted(waiting))),
    }[rule]
    costs = [cost for cost, _ in arrivals]
    taken = serve(arrivals, most, choose)
    assert sorted(name for name, _ in taken) == list(range(len(costs)))
    assert [turn for _, turn in taken] == sorted(turn for _, turn in taken)
    for name, start in latest_starts(taken, costs).items():
        assert start <= sum(costs[:name]) + most


@given(arrivals=ARRIVALS, most=st.integers(0, 200), first=st.sets(st.integers(0, 59)))
def test_those_put_first_come_on_top_of_the_bound_and_add_nothing_else(arrivals, most, first):
    costs = [cost for cost, _ in arrivals]
    taken = serve(arrivals, most, lambda waiting: min(waiting, key=lambda name: (name not in first, waiting[name], name)), first)
    starts = latest_starts(taken, costs)
    for name in set(starts) - first:
        put_before = sum(costs[other] for other in first & set(starts) if other > name)
        assert starts[name] <= sum(costs[:name]) + most + put_before


@given(arrivals=ARRIVALS)
def test_without_a_bound_the_order_has_its_way_and_with_none_left_it_is_first_in_first_out(arrivals):
    def smallest(waiting):
        return min(waiting, key=lambda name: (waiting[name], name))

    costs = [(cost + 1, 0) for cost, _ in arrivals]
    free = serve(costs, float("inf"), smallest)
    assert free == [(name, 0) for name in sorted(range(len(costs)), key=lambda name: (costs[name], name))]
    assert [name for name, _ in serve(costs, 0, smallest)] == list(range(len(costs)))


def test_a_large_one_starts_in_time_under_an_endless_stream_of_small_ones_and_a_million_take_seconds():
    large, most, small = 0, 100_000, 10
    aging = Aging(most)
    aging.arrive(large, 5_000)
    waiting = [(5_000, large)]
    fed = 0
    started = None
    began = time.monotonic()
    for name in range(1, 1_000_001):
        aging.arrive(name, small)
        heapq.heappush(waiting, (small, name))
        taken, _ = aging.take(waiting[0][1])
        if taken == large:
            started = fed
            waiting.remove((5_000, large))
            heapq.heapify(waiting)
        else:
            assert heapq.heappop(waiting) == (small, taken)
        fed += 5_000 if taken == large else small
    assert most - 5_000 <= started <= most
    assert time.monotonic() - began < 30
