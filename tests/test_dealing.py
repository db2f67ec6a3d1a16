"""Work in shares: every name once, the same on every machine, and all shares done at about the same time."""

import random
from dataclasses import replace
from fractions import Fraction
from itertools import product

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nights import light
from test_analysis import SCHEMA, FakeMachine, rows
from test_incremental import reviews

from pipeline import reviews as pipeline_reviews
from pipeline import spread
from pipeline.dealing import deal, pieces
from pipeline.job import TASKS, Job
from pipeline.reviews import read
from pipeline.runtime import Runtime
from pipeline.shares import costs, shares
from pipeline.tasks.calibration import Fit

COSTS = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(0, 10**9), max_size=60)
FITS = {language: Fit(1.0, 0.0, 0.95, 0.9, 80) for language in ("en", "ko")}


@given(COSTS, st.integers(1, 20), st.randoms())
def test_every_name_is_in_one_share_whatever_order_they_come_in(given_costs, number, chance):
    dealt = deal(given_costs, number)
    assert len(dealt) == number
    assert sorted(name for names in dealt for name in names) == sorted(given_costs)
    assert all(names == sorted(names) for names in dealt)
    shuffled = list(given_costs.items())
    chance.shuffle(shuffled)
    assert deal(dict(shuffled), number) == dealt


@given(st.lists(st.integers(0, 12), max_size=7), st.integers(1, 3))
def test_the_largest_share_is_within_grahams_bound_of_the_least_possible_one(sizes, number):
    sums = [sum(sizes[int(name)] for name in names) for names in deal({str(i): size for i, size in enumerate(sizes)}, number)]
    ways = product(range(number), repeat=len(sizes))
    best = min(max(sum(size for size, at in zip(sizes, way, strict=True) if at == share) for share in range(number)) for way in ways)
    assert max(sums) <= (Fraction(4, 3) - Fraction(1, 3 * number)) * best


@given(COSTS.filter(len), st.integers(1, 20))
def test_no_two_shares_differ_by_more_than_the_dearest_name(given_costs, number):
    sums = [sum(given_costs[name] for name in names) for names in deal(given_costs, number)]
    assert max(sums) - min(sums) <= max(given_costs.values())


@pytest.mark.parametrize(("given_costs", "number"), [({"a": 1}, 0), ({"a": -1}, 2)])
def test_what_cannot_be_dealt_is_refused(given_costs, number):
    with pytest.raises(ValueError, match=r"0 shares|below nothing"):
        deal(given_costs, number)


@pytest.fixture(scope="module")
def skewed():
    """Rows of restaurants of 1 to 400 reviews, short and long ones, some Korean, one with nothing but a reject."""
    chance = random.Random(3)
    made = []
    for number in range(40):
        size = round(400 ** chance.random())
        words = chance.choice(["Good.", "The noodles were fresh and tasty, and our waitress was kind. " * 4, "국물이 진하고 맛있어요. "])
        made += [(f"r{number:02}", f"{number}-{i}", f"{words} {i}", None, None, None) for i in range(size)]
    return [*made, ("zz", "broken", None, None, None, None)]


@pytest.fixture(scope="module")
def light_tokens(tokens):
    with light(tokens):
        yield


def costs_of(made, path, model, seed=None, machine=None, **job):
    frame = pl.DataFrame(made, schema=SCHEMA, orient="row")
    (frame if seed is None else frame.sample(fraction=1, shuffle=True, seed=seed)).write_parquet(path / "dump.parquet")
    dump = read([str(path / "dump.parquet")], scratch=path)
    names = set(frame["restaurant_id"].drop_nulls())
    return costs(dump, names, Job([], path, **job), Runtime(machine or FakeMachine(model)), FITS)


def test_costs_do_not_depend_on_the_order_of_rows_the_machine_or_the_ranges_that_a_dump_is_read_in(
    skewed, tmp_path, model, light_tokens, monkeypatch
):
    found = costs_of(skewed, tmp_path, model)
    assert found.keys() == {row[0] for row in skewed}
    assert found["zz"] == 1
    other = FakeMachine(model)
    other.block_size, other.max_num_seqs, other.step_tokens = 128, 1024, 16384
    assert costs_of(skewed, tmp_path, model, seed=5, machine=other) == found
    monkeypatch.setattr(spread, "RANGE_BYTES", 2000)
    monkeypatch.setattr(spread, "HELD_BYTES", 4000)
    cut = []
    made = pipeline_reviews.ranges_for
    monkeypatch.setattr(pipeline_reviews, "ranges_for", lambda *given: cut.append(made(*given)) or cut[-1])
    assert costs_of(skewed, tmp_path, model, seed=6) == found
    assert len(cut[-1]) > 5


def test_costs_follow_the_work_and_shares_are_about_equal(skewed, tmp_path, model, light_tokens):
    found = costs_of(skewed, tmp_path, model)
    sizes = {name: sum(len(row[2].encode()) for row in skewed if row[0] == name and row[2]) for name in found}
    by_size = sorted(found, key=sizes.get)
    assert found[by_size[-1]] > 10 * found[by_size[1]]
    dealt, _ = shares(found, 4)
    sums = [sum(found[name] for name in names) for names in dealt]
    assert max(sums) < 1.05 * sum(sums) / 4


def test_tasks_that_ask_less_cost_less_and_languages_that_the_model_does_not_read_nothing(skewed, tmp_path, model, light_tokens):
    whole = costs_of(skewed, tmp_path, model, tasks=TASKS)
    labels = costs_of(skewed, tmp_path, model, tasks=("sentiment",))
    assert all(labels[name] < whole[name] for name in whole if name != "zz")
    korean = [(*row[:2], "국물이 진하고 맛있어요.", *row[3:]) for row in rows([5])]
    frame = [*korean, *reviews(5, "english")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FITS, "ko", replace(FITS["ko"], auc=0.5))
        found = costs_of(frame, tmp_path, model)
    assert found["r0"] == 1 < found["english"]


def test_another_dealing_has_another_digest():
    found = {f"r{i}": i for i in range(20)}
    assert shares(found, 3)[1] == shares(dict(reversed(found.items())), 3)[1]
    assert len({shares(found, 3)[1], shares(found, 4)[1], shares(found | {"r0": 50}, 3)[1]}) == 3


def test_pieces_hold_every_name_once_and_get_smaller_from_round_to_round():
    costs = {f"r{number}": 1 + number % 37 for number in range(500)}
    found = pieces(costs, 4)
    assert sorted(name for piece in found for name in piece) == sorted(costs)
    weights = [sum(costs[name] for name in piece) for piece in found]
    assert len(found) == 12
    assert min(weights[:4]) > max(weights[4:8]) > 0
    assert min(weights[4:8]) > max(weights[8:]) > 0
    assert min(costs[name] for name in found[0]) >= max(costs[name] for name in found[-1])


def test_little_work_goes_out_in_one_round():
    assert len(pieces(dict.fromkeys("abcdefgh", 10), 2, least=1000)) == 2


def test_fewer_names_than_workers_are_a_piece_each():
    assert sorted(pieces({"a": 5, "b": 1}, 8)) == [["a"], ["b"]]


def test_workers_that_are_unlike_end_closer_together_with_pieces_than_with_equal_shares():
    costs = {f"r{number}": 1 + number % 37 for number in range(2000)}
    speeds = [1.0, 1.0, 1.0, 0.7]

    def ends(dealt):
        free = [0.0] * len(speeds)
        for piece in dealt:
            first = min(range(len(speeds)), key=lambda number: free[number])
            free[first] += sum(costs[name] for name in piece) / speeds[first]
        return max(free)

    assert ends(pieces(costs, 4)) < 0.85 * ends(deal(costs, 4))


def test_a_worker_alone_gets_one_piece():
    assert pieces({"b": 5, "a": 1}, 1) == [["a", "b"]]
