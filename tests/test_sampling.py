"""Which reviews of a large restaurant are taken."""

from collections import Counter
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.records import Review
from pipeline.sampling import sample

DATES = st.none() | st.datetimes(datetime(2024, 1, 1), datetime(2024, 8, 1))  # noqa: DTZ001 - as a dump holds them
REVIEWS = st.lists(st.tuples(st.integers(0, 10_000), DATES), min_size=1, max_size=60, unique_by=lambda one: one[0]).map(
    lambda rows: [review(number, date) for number, date in rows]
)


def review(number, date=None):
    return Review(f"id-{number}", f"text {number}", "en", None, date)


def names(reviews, most):
    return {reviews[i].review_id for i in sample("place", reviews, most)}


def spread(*per_month):
    """So many reviews in each month from January 2024 on."""
    dates = [datetime(2024, month, 1) + timedelta(hours=i % 600) for month, size in enumerate(per_month, 1) for i in range(size)]  # noqa: DTZ001
    return [review(number, date) for number, date in enumerate(dates)]


@given(REVIEWS, st.integers(1, 70))
def test_the_sample_is_exactly_as_large_as_allowed_and_everything_where_that_is_less(reviews, most):
    found = sample("place", reviews, most)
    assert found == sorted(set(found))
    assert len(found) == min(most, len(reviews))
    assert sample("place", reviews, None) == list(range(len(reviews)))


@given(REVIEWS, DATES, st.integers(1, 60))
def test_a_new_review_brings_at_most_one_in_and_puts_at_most_one_out(reviews, date, most):
    before, after = names(reviews, most), names([*reviews, review("new", date)], most)
    assert len(after - before) <= 1
    assert len(before - after) <= 1


@given(REVIEWS, st.integers(1, 60), st.randoms())
def test_neither_the_order_of_reviews_nor_what_they_say_or_rate_matters(reviews, most, chance):
    other = [Review(one.review_id, "Terrible.", "ko", 1.0, one.created_at) for one in reviews]
    chance.shuffle(other)
    assert names(other, most) == names(reviews, most)


def test_months_are_taken_in_proportion_to_their_reviews():
    reviews = spread(1200, 600, 0, 300, 9)
    taken = Counter(reviews[i].created_at.month for i in sample("place", reviews, 703))
    assert taken == {1: 400, 2: 200, 4: 100, 5: 3}


def test_reviews_without_a_date_have_their_share():
    reviews = [*spread(300, 300), *(review(1000 + i) for i in range(300))]
    assert sum(reviews[i].created_at is None for i in sample("place", reviews, 90)) == 30


def test_where_every_month_has_one_review_the_sample_is_not_the_oldest():
    reviews = [review(i, datetime(2000 + i // 12, i % 12 + 1, 1)) for i in range(240)]  # noqa: DTZ001
    early = sum(i < 120 for i in sample("place", reviews, 60))
    assert 15 <= early <= 45


def test_restaurants_with_equal_ids_of_reviews_are_sampled_apart():
    reviews = spread(400)
    assert sample("place", reviews, 40) != sample("other place", reviews, 40)


@pytest.mark.parametrize("most", [1, 50, 999])
def test_ten_new_reviews_change_no_more_than_ten_of_the_sample(most):
    reviews = spread(500, 250, 250)
    more = [*reviews, *(review(5000 + i, datetime(2024, 4, 1)) for i in range(10))]  # noqa: DTZ001
    assert len(names(reviews, most) - names(more, most)) <= 10
