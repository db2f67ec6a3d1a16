"""The simulation: vLLM's rules step by step, the loop's order, and what must hold for any workload."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import naive_scheduler
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.costs import CostModel
from pipeline.errors import BadConfiguration
from pipeline.order import ORDERS
from pipeline.order_figures import most_overtaken
from pipeline.priorities import Priorities
from pipeline.records import Request, Restaurant, Sampling
from pipeline.simulation.blocks import Blocks, Piece
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.engine import Call, Shape, SimulatedEngine
from pipeline.simulation.loop import Simulation
from pipeline.simulation.workload import Ask, Bundle, Bundles, Stage, blank, shared_of

RATES = CostModel(step_s=0.1, prefill_s=0.001, decode_s=0.01)
SIZE = 4
SHAPE = Shape(max_num_seqs=4, max_num_batched_tokens=32, block_size=SIZE, blocks=200, window=8)

PATHS = [(), (0,), (0, 1), (0, 2), (0, 2, 3), (4,), (4, 5)]
"""Pieces that prompts begin with; a piece has as many tokens as LENGTHS says."""
LENGTHS = (5, 8, 3, 9, 12, 6)
SPECS = st.lists(
    st.tuples(st.sampled_from(range(len(PATHS))), st.integers(1, 50), st.integers(1, 12), st.integers(0, 3)), min_size=1, max_size=25
)


def tokens_of(path, tail, number):
    """A prompt whose tail is nobody else's."""
    return [piece * 100 + i for piece in path for i in range(LENGTHS[piece])] + [10_000 * (number + 1) + i for i in range(tail)]


def chains(paths, size=SIZE):
    """The pieces of each path in whole blocks."""
    known, found = {}, []
    for path in paths:
        chain, total, blocks = [], 0, 0
        for piece in path:
            total += LENGTHS[piece]
            whole = total // size - blocks
            blocks += whole
            if whole:
                chain.append(known.setdefault(piece, Piece(whole)))
        found.append(tuple(chain))
    return found


def simulated(specs, shape):
    engine = SimulatedEngine(shape, RATES)
    calls = []
    for (_, tail, output, rank), path, chain in zip(specs, paths_of(specs), chains(paths_of(specs)), strict=True):
        call = Call(sum(LENGTHS[piece] for piece in path) + tail, output, chain, rank, None)
        calls.append(call)
        engine.submit(call)
    finished = {}
    while engine.unfinished:
        for call in engine.step():
            finished[call] = engine.now_s
    return engine, calls, [finished[call] for call in calls]


def paths_of(specs):
    return [PATHS[path] for path, *_ in specs]


ENGINES = (SPECS, st.booleans(), st.integers(1, 6), st.integers(8, 40))


@settings(max_examples=300)
@given(*ENGINES)
def test_every_step_is_that_of_a_scheduler_written_down_the_slow_way(specs, priority, max_num_seqs, budget):
    assert_every_step_alike(specs, priority, max_num_seqs, budget, 10_000)


@settings(max_examples=300)
@given(*ENGINES, st.sampled_from([40, 60]))
def test_every_step_is_that_of_the_slow_way_where_blocks_have_to_go(specs, priority, max_num_seqs, budget, blocks):
    assert_every_step_alike(specs, priority, max_num_seqs, budget, blocks)


def assert_every_step_alike(specs, priority, max_num_seqs, budget, blocks):
    shape = Shape(max_num_seqs, budget, SIZE, blocks, 99, priority)
    asked = [naive_scheduler.Asked(i, tokens_of(PATHS[path], tail, i), output, rank) for i, (path, tail, output, rank) in enumerate(specs)]
    try:
        steps = naive_scheduler.run(asked, max_num_seqs=max_num_seqs, budget=budget, size=SIZE, blocks=blocks, priority=priority)
    except IndexError:  # blocks ran out under way: who is put back then is tested below
        return
    engine, calls, finished = simulated(specs, shape)
    ends = np.cumsum([RATES.seconds(prefilled, decoded, 1) for prefilled, decoded, _ in steps])
    assert [call.cached for call in calls] == [one.cached for one in asked]
    assert finished == pytest.approx([ends[one.finished] for one in asked])
    assert [call.first_s for call in calls] == pytest.approx([ends[one.first] for one in asked])
    assert (engine.steps, engine.prefilled, engine.decoded) == (len(steps), sum(s[0] for s in steps), sum(s[1] for s in steps))


@settings(max_examples=200)
@given(SPECS, st.booleans())
def test_requests_put_back_for_want_of_blocks_end_all_the_same(specs, priority):
    engine, calls, finished = simulated(specs, replace(SHAPE, blocks=25, priority=priority))
    assert len(finished) == len(calls)
    assert engine.decoded == sum(call.output for call in calls)
    pieces = {piece for path in paths_of(specs) for piece in path}
    assert engine.prefilled >= sum(tail for _, tail, _, _ in specs) + sum(LENGTHS[piece] for piece in pieces)
    if not engine.put_back:
        assert engine.prefilled == sum(call.prompt - call.cached for call in calls)


def test_blocks_that_run_out_put_the_request_of_the_highest_rank_back():
    engine, _calls, finished = simulated([(0, 8, 12, 1), (0, 8, 12, 0)], replace(SHAPE, blocks=6))
    assert engine.put_back >= 1
    assert finished[1] < finished[0]


def test_a_block_that_holds_the_last_token_is_computed_again():
    piece = Piece(2)
    blocks = Blocks(SIZE, 10)
    assert blocks.enter([piece], 2 * SIZE) == (0, 0)
    assert blocks.enter([piece], 2 * SIZE) == (1, 1)  # one block hits, the other is computed once more into a block of its own


def test_what_is_unused_for_longest_goes_first_from_its_end():
    old, new = Piece(3), Piece(3)
    blocks = Blocks(SIZE, 8)
    for piece in (old, new):
        _, own = blocks.enter([piece], 3 * SIZE + 1)
        blocks.leave([piece], own, 3 * SIZE + 1)
    blocks.enter([], 3 * SIZE)
    assert (old.present, new.present) == (2, 3)


def test_an_engine_refuses_what_can_never_fit():
    with pytest.raises(BadConfiguration, match="does not fit"):
        SimulatedEngine(replace(SHAPE, blocks=3), RATES).submit(Call(20, 1, (), 0, None))
    with pytest.raises(ValueError, match="too small"):
        SimulatedEngine(replace(SHAPE, max_num_batched_tokens=2), RATES)


def test_lower_ranks_go_first_and_first_come_first_served_does_not_look_at_them():
    specs = [(0, 30, 1, rank) for rank in (3, 2, 1, 0)]
    _, _, by_rank = simulated(specs, replace(SHAPE, max_num_seqs=1))
    _, _, by_arrival = simulated(specs, replace(SHAPE, max_num_seqs=1, priority=False))
    assert by_rank == sorted(by_rank, reverse=True)
    assert by_arrival == sorted(by_arrival)


def test_long_prompts_slow_the_answers_beside_them_down():
    """Every token of an answer waits for the step's prompt tokens."""
    alone = simulated([(0, 4, 10, 0)], SHAPE)[2][0]
    beside = simulated([(0, 4, 10, 0), (0, 300, 1, 1)], SHAPE)[2][0]
    assert beside > alone + 9 * 28 * RATES.prefill_s


def test_shared_pieces_are_the_blocks_that_prompts_begin_with_in_common():
    prompts = [np.array(tokens_of(path, 5, i), dtype=np.uint32) for i, path in enumerate([(0, 1), (0, 1), (0, 2), ()])]
    found = shared_of(prompts, SIZE)
    assert [sum(tokens for _, tokens in one) for one in found] == [12, 12, 4, 0]  # 5 + 8 tokens: three whole blocks of four
    assert found[0] == found[1]
    assert found[0][0] == found[2][0]


# The loop


def ask(restaurant, task="sentiment", prompt=20, output=1, stage="label", shared=()):
    return Ask(Request("", task, stage, restaurant, blank(prompt), Sampling(1)), output, shared)


def bundle(place, *stages, peers=()):
    name = f"r{place}"
    return Bundle(Restaurant(name, (), arrival=place, estimate=sum(len(s.asks) for s in stages)), stages, peers)


def run(workload, order="restaurant", shape=SHAPE, rates=RATES, **options):
    return Simulation(workload, ORDERS[order], shape, rates, **options).run()


def finished(timeline):
    return dict(timeline.restaurants.select("restaurant_id", "finished_s").iter_rows())


SKEWED = Drawn(60, seed=3, most=60)
REAL = Shape(max_num_seqs=64, max_num_batched_tokens=2048, block_size=32, blocks=1456, window=128)


def test_a_stage_waits_for_the_stages_before_it_and_a_comparison_for_the_peers():
    first = Stage((ask("r0"),))
    second = Stage((ask("r0", stage="praise"),), after=(0,))
    compare = Stage((ask("r0", stage="compare"),), compares=True)
    workload = Bundles([bundle(0, first, second, compare, peers=(1,)), bundle(1, Stage((ask("r1", output=30),)))])
    timeline = run(workload)
    ends = dict(timeline.requests.filter(pl.col("arrival") == 0).select("stage", "finished_s").iter_rows())
    assert ends["label"] < ends["praise"] < finished(timeline)["r1"] < ends["compare"]
    assert timeline.restaurants["compared_s"].to_list() == [ends["compare"], None]
    assert finished(timeline)["r0"] == ends["praise"]


def test_a_restaurant_without_questions_is_complete_for_those_that_compare_with_it():
    compare = Stage((ask("r0", stage="compare"),), compares=True)
    timeline = run(Bundles([bundle(0, Stage((ask("r0"),)), compare, peers=(1,)), bundle(1)]))
    assert timeline.restaurants["compared_s"][0] > 0


@pytest.mark.parametrize("order", sorted(ORDERS))
@pytest.mark.parametrize("together", [False, True])
def test_every_request_is_answered_once_and_all_prompt_tokens_are_computed_or_cached(order, together):
    simulation = Simulation(SKEWED, ORDERS[order], REAL, RATES, together=together)
    timeline = simulation.run()
    asks = [one for place in range(SKEWED.count) for stage in SKEWED.bundle(place).stages for one in stage.asks]
    assert timeline.requests.height == len(asks)
    assert timeline.requests["prompt_tokens"].sum() == sum(len(one.request.prompt) for one in asks)
    assert timeline.requests["output_tokens"].sum() == simulation._engine.decoded == sum(one.output_tokens for one in asks)
    cached = timeline.requests["prompt_tokens"].sum() - timeline.requests["cached_tokens"].sum()
    assert simulation._engine.put_back or simulation._engine.prefilled == cached
    assert timeline.restaurants["finished_s"].min() > 0
    assert timeline.seconds == timeline.requests["finished_s"].max()


@pytest.mark.parametrize("order", sorted(ORDERS))
def test_no_step_holds_more_than_it_may(order, monkeypatch):
    seen = []
    prefill = SimulatedEngine._prefill

    def watched(engine, budget, let_in):
        before = len(engine._running)
        complete, computed = prefill(engine, budget, let_in)
        seen.append((computed <= budget, len(engine._running) <= REAL.max_num_seqs, before <= REAL.max_num_seqs))
        return complete, computed

    monkeypatch.setattr(SimulatedEngine, "_prefill", watched)
    run(SKEWED, order, REAL)
    assert seen
    assert all(all(one) for one in seen)


def test_the_window_bounds_what_is_inside_the_engine():
    most = 0
    simulation = Simulation(SKEWED, ORDERS["fifo"], REAL, RATES)
    step = simulation._engine.step

    def watched():
        nonlocal most
        most = max(most, simulation._engine.unfinished)
        return step()

    simulation._engine.step = watched
    simulation.run()
    assert most == REAL.window


def test_the_same_workload_takes_the_same_time_twice():
    one, other = run(SKEWED, shape=REAL), run(Drawn(60, seed=3, most=60), shape=REAL)
    assert one.requests.equals(other.requests)
    assert one.restaurants.equals(other.restaurants)
    assert not one.requests.equals(run(Drawn(60, seed=4, most=60), shape=REAL).requests)


@pytest.mark.parametrize("rate", ["step_s", "prefill_s", "decode_s"])
def test_dearer_steps_and_tokens_make_no_restaurant_faster(rate):
    cheap, dear = run(SKEWED, shape=REAL), run(SKEWED, shape=REAL, rates=replace(RATES, **{rate: 2 * getattr(RATES, rate)}))
    assert dear.seconds > cheap.seconds
    assert (dear.restaurants["finished_s"] >= cheap.restaurants["finished_s"]).all()


def test_restaurants_that_cost_least_first_beats_first_in_first_out_on_skewed_restaurants():
    mean = {order: run(Drawn(200, seed=5), order, REAL).restaurants["finished_s"].mean() for order in ("restaurant", "fifo", "task")}
    assert mean["restaurant"] < 0.8 * mean["fifo"]
    assert mean["fifo"] < mean["task"]


def test_fifo_starts_restaurants_in_order_of_arrival():
    timeline = run(SKEWED, "fifo", REAL)
    assert timeline.restaurants.sort("started")["arrival"].to_list() == list(range(SKEWED.count))


def test_an_unbounded_cache_keeps_everything_and_a_small_one_does_not():
    known, small = run(SKEWED, "prompt", replace(REAL, blocks=None)), run(SKEWED, "prompt", replace(REAL, blocks=200))
    assert known.requests["cached_tokens"].sum() > small.requests["cached_tokens"].sum()


class Estimated(Drawn):
    """Its estimates are what its restaurants cost, so that overtaking is counted in the same tokens."""

    @cached_property
    def restaurants(self):
        costs = run(Drawn(self.count, self.seed), "fifo", REAL).restaurants.sort("arrival")["cost"]
        return [replace(one, estimate=cost) for one, cost in zip(super().restaurants, costs, strict=True)]


@pytest.fixture(scope="module")
def estimated():
    return Estimated(80, 5)


def overtaken(timeline):
    found = most_overtaken(timeline.restaurants)
    return found["tokens"] if found else 0


@pytest.mark.parametrize("most", [0, 20_000, 100_000])
def test_nobody_is_overtaken_by_more_tokens_than_allowed(estimated, most):
    assert overtaken(run(estimated, "restaurant", REAL, priorities=Priorities(max_overtake=most))) <= most
    assert overtaken(run(estimated, "restaurant", REAL)) > 100_000


class LateArrivals:
    """A few large restaurants, and many with one short review each that arrive behind them."""

    LARGE, REVIEWS = 5, 300

    def __init__(self, count):
        lengths = np.random.default_rng(1).integers(40, 160, count).tolist()
        sizes = [[160] * self.REVIEWS] * self.LARGE + [[length] for length in lengths]
        self._prompts, self.labels, self.tasks = sizes, [len(one) for one in sizes], frozenset({"sentiment"})
        self.restaurants = [Restaurant(f"r{place:07d}", (), arrival=place, estimate=sum(one)) for place, one in enumerate(sizes)]

    def bundle(self, place):
        one = self.restaurants[place]
        asks = (Ask(Request("", "sentiment", "label", one.restaurant_id, blank(tokens), Sampling(1)), 1) for tokens in self._prompts[place])
        return Bundle(one, (Stage(tuple(asks)),))


@pytest.mark.parametrize("count", [2_000, pytest.param(1_000_000, marks=pytest.mark.kill)])
def test_late_arrivals_however_many_delay_those_before_them_by_the_bound_at_most(count):
    late, most = LateArrivals(count), 100_000
    assert overtaken(run(late, "restaurant", REAL, priorities=Priorities(max_overtake=most))) <= most
    if count < 10_000:
        assert overtaken(run(late, "restaurant", REAL)) == sum(one.estimate for one in late.restaurants[late.LARGE :]) > most


def test_a_restaurant_whose_deadline_is_in_danger_goes_first_in_the_order_that_heeds_it():
    late = run(SKEWED, "hybrid", REAL).restaurants.sort("finished_s")["restaurant_id"][-1]
    due = datetime.now(UTC) + timedelta(seconds=30)
    soon = run(SKEWED, "hybrid", REAL, priorities=Priorities(deadlines={late: due})).restaurants.sort("started")["restaurant_id"]
    assert soon[0] == late


def test_a_deadline_is_met_and_moves_nobody_by_more_than_the_work_that_goes_before_them():
    small = replace(REAL, max_num_seqs=16, max_num_batched_tokens=256, window=32)
    drawn = replace(SKEWED, compared=False)
    free = run(drawn, "hybrid", small)
    late = free.restaurants.sort("finished_s").row(-1, named=True)
    due_s = 0.7 * free.seconds
    due = datetime.now(UTC) + timedelta(seconds=due_s)
    soon = run(drawn, "hybrid", small, priorities=Priorities(deadlines={late["restaurant_id"]: due})).restaurants
    own = free.requests.filter(pl.col("arrival") == late["arrival"])
    work = RATES.seconds(own["prompt_tokens"].sum() - own["cached_tokens"].sum(), own["output_tokens"].sum(), own["output_tokens"].sum())
    both = free.restaurants.join(soon, on="restaurant_id", suffix="_soon").with_columns(
        moved=pl.col("finished_s_soon") - pl.col("finished_s")
    )
    assert both.filter(restaurant_id=late["restaurant_id"])["finished_s_soon"].item() <= due_s < late["finished_s"]
    assert both.filter(pl.col("restaurant_id") != late["restaurant_id"])["moved"].max() <= work


def test_an_urgent_restaurant_starts_first():
    found = run(SKEWED, "restaurant", REAL, priorities=Priorities(urgent=frozenset(["r0000031"]))).restaurants.sort("started")
    assert found["restaurant_id"][0] == "r0000031"
