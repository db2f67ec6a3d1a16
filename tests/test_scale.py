"""N workers on paper: small cases by hand, large ones against every request simulated."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.costs import CostModel
from pipeline.dealing import deal, pieces
from pipeline.engine_settings import settings as engine_settings
from pipeline.records import Request, Restaurant, Sampling
from pipeline.simulation.dealt import dealt
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.drawn_work import costs_of, drawn_work, sizes_of
from pipeline.simulation.engine import Shape
from pipeline.simulation.overheads import NONE, Overheads, Size
from pipeline.simulation.passes import Some, Worker
from pipeline.simulation.scaled import SPENT, scaled, worker_counts
from pipeline.simulation.shapes import shape
from pipeline.simulation.workers import Simulated, Span, span
from pipeline.simulation.workload import Ask, Bundle, Bundles, Stage, blank

ONE_AT_A_TIME = Worker(Shape(1, 1, 4, None, 4, caches=False), CostModel(0.0, 1.0, 0.0))
"""A second for each prompt token; a piece has no tail."""
BATCHED = Worker(Shape(4, 64, 4, None, 8, caches=False), CostModel(1.0, 0.0, 0.0))
"""A second for each step, in which four answers get a token."""
CPU = Worker(shape(engine_settings("cpu"), "continuous", 2911), CostModel(0.02, 1 / 600, 1 / 200))
GPU = Worker(
    shape(engine_settings("gpu", {"max_num_seqs": 1024, "max_num_batched_tokens": 16384}), "continuous", 25_000),
    CostModel(0.01, 1 / 20_000, 1 / 2_000),
)
SIZE = Size(reviews=1000, restaurants=100, asked=500, dump_bytes=4000)


def asking(requests, prompt=1, output=1):
    """Workload and costs: so many requests of each restaurant."""
    bundles = []
    for place, number in enumerate(requests):
        name = f"r{place:03}"
        ask = Ask(Request("", "sentiment", "label", name, blank(prompt), Sampling(1)), output)
        bundles.append(Bundle(Restaurant(name, (), arrival=place, estimate=number), (Stage((ask,) * number),)))
    return Bundles(bundles), {f"r{place:03}": number for place, number in enumerate(requests)}


def simulated(requests, worker=ONE_AT_A_TIME, **asked):
    return Simulated(*asking(requests, **asked), worker)


def test_the_next_piece_goes_to_whoever_is_free_first():
    assert span([3, 3, 2, 1], 2) == Span(5, 9, 4, 3)
    assert span([], 3) == Span(0.0, 0, 0, 0.0)


def test_two_workers_with_equal_restaurants_take_half_the_time():
    one, two = scaled(simulated([5] * 8), [1, 2], SIZE)
    assert (one.seconds, two.seconds, two.efficiency, two.limit) == (40.0, 20.0, 1.0, None)
    assert two.spent["answering"] == pytest.approx(1.0)


def test_what_is_lost_beside_equal_restaurants_is_the_tail_of_each_piece():
    # Four answers of 10 tokens at once: 8 restaurants of one take 20 steps (a worker alone has one piece), the pieces of 3 + 1 of either of
    # two workers 10 + 10.
    one, two = scaled(simulated([1] * 8, BATCHED, output=10), [1, 2], SIZE)
    assert (one.seconds, two.seconds) == (20.0, 20.0)
    assert two.spent["answering"] == pytest.approx(20 / 40)
    assert two.spent["tails"] == pytest.approx(20 / 40)
    assert two.limit == "tails"


def test_a_run_is_never_sooner_done_than_its_longest_restaurant():
    work = simulated([100] + [1] * 20)
    assert work.longest_s == 100
    found = scaled(work, [1, 2, 8, 500], SIZE)
    assert [one.seconds for one in found] == [120, 100, 100, 100]
    assert [one.limit for one in found] == [None, "longest restaurant", "longest restaurant", "longest restaurant"]
    assert found[2].efficiency == pytest.approx(120 / 800)
    assert "no worker shares it" in found[2].setting


def test_workers_beyond_the_number_of_restaurants_have_nothing_to_do():
    found = scaled(simulated([3, 3, 3]), [3, 30], SIZE)
    assert [one.seconds for one in found] == [3, 3]
    assert found[1].pieces == 3
    assert found[1].efficiency == pytest.approx(0.1)


def test_pieces_that_do_not_come_out_even_are_told_from_a_longest_restaurant():
    (one,) = scaled(simulated([2] * 5), [4], SIZE)
    assert (one.seconds, one.limit) == (4, "uneven pieces")


@pytest.mark.parametrize("second", [False, True])
def test_a_pass_asks_its_own_stages_and_those_wait_for_one_another_as_before(second):
    drawn = Drawn(6, 3)
    some = Some(drawn, [1, 4], second)
    for place, whole in enumerate((1, 4)):
        of, asked = drawn.bundle(whole), some.bundle(place)
        kept = [stage for stage in of.stages if stage.compares == second]
        assert [stage.asks for stage in asked.stages] == [stage.asks for stage in kept]
        before = [[of.stages[number].asks for number in stage.after if of.stages[number].compares == second] for stage in kept]
        assert [[asked.stages[number].asks for number in stage.after] for stage in asked.stages] == before
        assert asked.peers == ()


def test_shards_are_one_piece_each_and_have_one_tail():
    work = simulated([1] * 8, BATCHED, output=10)
    assert work.first(2, shards=True) == Span(10.0, 20.0, 2, 10.0)
    assert work.first(2, shards=False).pieces == 4


@given(st.lists(st.integers(1, 10_000), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 2000))
@settings(max_examples=200)
def test_loads_without_names_are_those_of_the_names_that_are_dealt(costs, workers, least):
    named = {f"r{place:04}": cost for place, cost in enumerate(costs)}
    dearest = np.array(sorted(costs, reverse=True), dtype=np.float64)
    for loads, lists in (
        (dealt(dearest, workers, least), pieces(named, workers, least)),
        (dealt(dearest, workers, shards=True), [names for names in deal(named, workers) if names]),
    ):
        assert loads.costs.tolist() == [sum(named[name] for name in names) for names in lists]
        assert loads.counts.tolist() == [len(names) for names in lists]


@pytest.mark.parametrize(("workers", "giant"), [(3, 0), (16, 0), (16, 10**8)])
def test_restaurants_that_are_poured_make_loads_as_if_they_were_dealt(workers, giant):
    costs = np.random.default_rng(1).integers(1, 5000, 20_000).tolist() + ([giant] if giant else [])
    named = {f"r{place:05}": cost for place, cost in enumerate(costs)}
    loads = dealt(np.array(sorted(costs, reverse=True), dtype=np.float64), workers)
    lists = pieces(named, workers)
    assert len(loads) == len(lists)
    assert loads.costs == pytest.approx([sum(named[name] for name in names) for names in lists], rel=0.002, abs=5000)
    assert loads.costs.sum() == pytest.approx(sum(costs))
    assert loads.counts.sum() == pytest.approx(len(costs))


@pytest.fixture(scope="module", params=["cpu", "gpu"])
def both(request):
    """The same 400 restaurants, every request simulated and by lines through others."""
    worker = {"cpu": CPU, "gpu": GPU}[request.param]
    everything = Drawn(400, 11)
    costs = costs_of(everything.sizes, worker)
    names = [one.restaurant_id for one in everything.restaurants]
    exact = Simulated(everything, dict(zip(names, costs.round().astype(int).tolist(), strict=True)), worker)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.simulation.drawn_work.SAMPLE_REVIEWS", 15_000)
        return exact, drawn_work(np.array(everything.sizes), Drawn(1, 5), worker)


def test_lines_through_sampled_pieces_say_what_the_simulation_says(both):
    exact, sampled = both
    assert sampled.line.off[0] < 0.06
    assert sampled.whole_s == pytest.approx(exact.whole_s, rel=0.06)
    for workers in (1, 8):
        for shards in (False, True):
            assert sampled.first(workers, shards).seconds == pytest.approx(exact.first(workers, shards).seconds, rel=0.10)
            assert sampled.first(workers, shards).pieces == exact.first(workers, shards).pieces
        assert sampled.second(workers).seconds == pytest.approx(exact.second(workers).seconds, rel=0.10)


def test_efficiency_by_lines_is_that_of_the_simulation(both):
    """Where a worker has fifty restaurants; with few, each differs from what is expected of it, and lines do not."""
    for one, other in zip(*(scaled(work, [2, 8], SIZE, Overheads(load_s=5.0)) for work in both), strict=True):
        assert one.efficiency == pytest.approx(other.efficiency, abs=0.06)


def test_more_workers_never_take_longer(both):
    exact, sampled = both
    some = replace(exact, workload=Drawn(60, 11), costs={name: cost for name, cost in exact.costs.items() if name < "r0000060"})
    for work, most in ((some, 64), (sampled, 1024)):
        seconds = [one.seconds for one in scaled(work, worker_counts(most), SIZE, Overheads(load_s=5.0, read_s=0.001, merge_s=0.02))]
        assert all(later <= before * 1.01 for before, later in pairwise(seconds))


def test_a_draw_has_as_many_reviews_as_were_asked_for_and_the_one_large_restaurant():
    sizes = sizes_of(100_000, Drawn(1, 7, 2, 100), largest=5000)
    assert 100_000 <= sizes.sum() < 100_100
    assert (sizes.max(), sizes[sizes < 5000].max() <= 100, sizes.min()) == (5000, True, 2)


def test_numbers_of_workers_double_up_to_the_one_asked_for():
    assert worker_counts(1) == [1]
    assert worker_counts(8) == [1, 2, 4, 8]
    assert worker_counts(10) == [1, 2, 4, 8, 10]
    with pytest.raises(ValueError, match="at least one"):
        worker_counts(0)


OVER = Overheads(load_s=10, read_s=0.001, find_s=0.02, send_s=0.0, take_s=0.01, write_s=0.004, bandwidth=1000, calibrate_s=2)


def test_phases_by_hand():
    # Reading 1 s, the network 3 s more, finding 2 s: workers have loaded after 10. 20 s for 2 workers, rows back 5 s beside, writing 2 s.
    (two,) = scaled(simulated([5] * 8), [2], SIZE, OVER)
    phases = two.phases
    assert (phases.start_s, phases.calibrate_s, phases.first_s, phases.second_s, phases.end_s) == (10, 2, 20, 0, 2)
    assert two.seconds == 34
    assert {name: value * 68 for name, value in two.spent.items() if value} == pytest.approx(
        {"answering": 40, "calibrating": 4, "loading": 8, "driver": 2 * (1 + 2 + 2), "object storage": 6}
    )


def test_a_driver_that_cannot_take_rows_back_as_fast_as_they_come_is_the_limit():
    found = scaled(simulated([5] * 80), [1, 10, 80], SIZE, replace(NONE, take_s=0.1))
    assert [one.phases.first_s for one in found] == [400, 50, 50]  # 500 reviews asked, 0.1 s each
    assert found[2].limit == "driver"


def test_an_object_store_that_is_slower_than_reading_is_the_limit_where_it_is():
    found = scaled(simulated([5] * 80), [10], SIZE, replace(NONE, read_s=0.001, bandwidth=10))
    assert found[0].limit == "object storage"
    assert found[0].phases.start_s == 400  # 4,000 bytes


def test_parts_of_the_store_that_nobody_could_merge_are_merged_before_the_next_run():
    over = replace(NONE, merge_s=0.1)
    assert over.store_s(600, 60) == 0  # of ten workers: ten parts a second are merged
    assert over.store_s(1800, 60) == pytest.approx((30 - 10) * 60 * 0.1)
    assert scaled(simulated([5] * 200), [100], SIZE, over)[0].limit == "store"


def test_every_shard_reads_the_whole_dump_and_the_merge_reads_it_once_more():
    (two,) = scaled(simulated([5] * 8), [2], SIZE, OVER, shards=True)
    ready = 1 + 3 + 2 + 10
    assert two.phases.start_s == 2 * ready  # again for the comparisons
    assert two.phases.end_s == 2 / 2 + (1 + 3 + 2) + 5 + 2
    (one,) = scaled(simulated([5] * 8), [1], SIZE, OVER, shards=True)
    assert (one.phases.start_s, one.phases.end_s) == (ready, 2)


@given(st.lists(st.integers(1, 30), min_size=1, max_size=12), st.integers(1, 40), st.booleans(), st.integers(0, 20))
def test_what_the_seconds_are_spent_on_is_all_of_them(requests, workers, shards, load_s):
    (one,) = scaled(simulated(requests, BATCHED, output=3), [workers], SIZE, replace(OVER, load_s=load_s, merge_s=0.3), shards)
    assert sum(one.spent.values()) == pytest.approx(1.0)
    assert one.spent.keys() == SPENT.keys()


@pytest.fixture
def few(monkeypatch):
    """A sample of few reviews."""
    monkeypatch.setattr("pipeline.simulation.drawn_work.SAMPLE_REVIEWS", 3_000)


def test_benchmark_scale_prints_a_row_for_each_number_of_gpus_and_what_limits_it(few):
    from jobs.benchmark import benchmark

    done = CliRunner().invoke(benchmark, ["scale", "--reviews", "3000", "--workers", "24", "--load-s", "30"])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [int(line.split()[0]) for line in lines[1:7]] == [1, 2, 4, 8, 16, 24]
    assert "loading" in lines[6]
    assert lines[-1].startswith("loading: more reviews in one run")


def test_benchmark_scale_as_json_stands_beside_the_exact_simulation(few):
    from jobs.benchmark import benchmark

    done = CliRunner().invoke(benchmark, ["scale", "--reviews", "3000", "--workers", "2", "--exact", "--json"])
    found = json.loads(done.stdout)
    assert found["reviews"] >= 3000
    for one, other in zip(found["scaled"], found["exact"], strict=True):
        assert one["seconds"] == pytest.approx(other["seconds"], rel=0.1)
