"""Cuts of a dump: skewed, drawn with a seed, the same whatever the order of its rows."""

import random

import polars as pl
import pytest

from pipeline.errors import BadData
from pipeline.skewed import Cut


@pytest.fixture
def rows():
    rows = [(f"r{i:02}", f"{i}-{j}", f"Soup {j} at {i}.") for i in range(30) for j in range(60)]
    return [*rows, ("r01", "blank", " ")]


@pytest.fixture
def make_dump(dump):
    return lambda rows: dump(dict(zip(("restaurant_id", "review_id", "text"), zip(*rows, strict=True), strict=True)))


@pytest.fixture
def whole(rows, make_dump):
    return make_dump(rows)


def sizes(cut):
    return dict(cut.reviews.group_by("restaurant_id").len().iter_rows())


def test_restaurants_are_cut_to_sizes_between_the_bounds(whole):
    found = sizes(Cut(20, seed=1, least=3, most=40).of(whole))
    assert len(found) == 20
    assert 3 <= min(found.values()) < 10
    assert 20 < max(found.values()) <= 40


def test_a_restaurant_with_fewer_reviews_than_drawn_keeps_all_of_them(whole):
    assert set(sizes(Cut(10, seed=1, least=500, most=600).of(whole)).values()) == {60}


def test_sizes_are_log_uniform(whole):
    drawn = [size for seed in range(40) for size in sizes(Cut(30, seed, least=2, most=32).of(whole)).values()]
    halves = [sum(size < 8 for size in drawn), sum(size >= 8 for size in drawn)]  # 8 is the geometric middle
    assert 0.8 < halves[0] / halves[1] < 1.25


def test_the_cut_depends_on_the_seed_and_not_on_the_order_of_rows(rows, whole, make_dump):
    shuffled = random.Random(1).sample(rows, len(rows))
    kept = ["restaurant_id", "review_id", "arrival"]
    one, other = Cut(8, seed=3).of(whole).reviews, Cut(8, seed=3).of(make_dump(shuffled)).reviews
    assert one.select(kept).equals(other.select(kept))
    assert not one.select(kept).equals(Cut(8, seed=4).of(whole).reviews.select(kept))


def test_rows_arrive_in_an_order_that_is_drawn(whole):
    reviews = Cut(8, seed=3).of(whole).reviews
    assert reviews["arrival"].to_list() == list(range(reviews.height))
    assert reviews["restaurant_id"].to_list() != reviews.sort("restaurant_id")["restaurant_id"].to_list()


def test_a_second_cut_is_of_other_restaurants(whole):
    first = Cut(20, seed=1).of(whole)
    second = Cut(10, seed=1).of(whole, but=set(first.reviews["restaurant_id"]))
    assert not set(first.reviews["restaurant_id"]) & set(second.reviews["restaurant_id"])
    assert second.reviews["restaurant_id"].n_unique() == 10


def test_rejects_of_restaurants_that_are_not_drawn_are_left_out(whole):
    assert whole.rejects.height == 1
    for seed in range(5):
        cut = Cut(10, seed).of(whole)
        assert cut.rejects.height == ("r01" in set(cut.reviews["restaurant_id"]))


def test_more_restaurants_than_there_are_is_an_error_that_says_how_many(whole):
    with pytest.raises(BadData, match="30 restaurants are there to draw 31 from"):
        Cut(31, seed=1).of(whole)


def test_texts_stay_with_their_reviews(whole):
    cut = Cut(12, seed=2).of(whole).reviews
    assert cut.join(whole.reviews, on=["restaurant_id", "review_id", "text"]).height == cut.height
    assert isinstance(cut, pl.DataFrame)
    assert cut.columns == whole.reviews.columns
