"""Grouping, order inside a group, estimates, and where chunks end."""

import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.records import Restaurant, Review
from pipeline.restaurants import cut, group, place, sample_rates, tokenise

ITEMS = st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 60)), max_size=120, unique_by=lambda one: one[0]).map(sorted)
BUDGET, MOST = st.integers(1, 150), st.integers(1, 20)


def runs(items, budget, most):
    return cut([where for where, _ in items], [size for _, size in items], budget, most)


def parts(items, budget, most):
    return {tuple(items[i] for i in run) for run in runs(items, budget, most)}


@given(ITEMS, BUDGET, MOST)
def test_runs_cover_all_items_in_order(items, budget, most):
    assert [i for run in runs(items, budget, most) for i in run] == list(range(len(items)))


@given(ITEMS, BUDGET, MOST)
def test_a_run_keeps_to_budget_and_count_and_only_a_single_item_may_exceed_it(items, budget, most):
    for run in runs(items, budget, most):
        assert 1 <= len(run) <= most
        assert len(run) == 1 or sum(items[i][1] for i in run) <= budget


@given(ITEMS.filter(bool), BUDGET, MOST, st.data())
def test_a_new_item_changes_or_splits_the_run_it_falls_into_and_no_other(items, budget, most, data):
    new = data.draw(st.sampled_from(items))
    before, after = parts([item for item in items if item != new], budget, most), parts(items, budget, most)
    assert len(before - after) <= 1
    assert {item for part in after - before for item in part} == {item for part in before - after for item in part} | {new}


def test_items_that_differ_in_closing_zero_bytes_alone_are_cut_too():
    assert cut([b"a", b"a\0", b"a\0\0"], [1, 1, 1], 1) == [range(1), range(1, 2), range(2, 3)]


def test_runs_are_about_two_thirds_full_on_average():
    draw = random.Random(1)
    items = sorted((draw.randbytes(8), draw.randint(20, 120)) for _ in range(3_000))
    full = sum(size for _, size in items) / 3_000
    assert 0.55 < full / len(runs(items, 3_000, 50)) < 0.8


def test_items_and_sizes_of_different_number_are_refused():
    with pytest.raises(ValueError, match=r"shorter|longer"):
        cut([b"a", b"b"], [1], 10)


DATES = st.none() | st.datetimes(allow_imaginary=False)


@given(st.lists(st.tuples(DATES, st.text(max_size=4)), unique_by=lambda one: one[1]))
def test_places_sort_as_reviews_do_by_date_then_id_undated_last(rows):
    dates = pl.Series([date for date, _ in rows], dtype=pl.Datetime("us"))
    table = pl.DataFrame({"date": dates, "id": pl.Series([name for _, name in rows], dtype=pl.String)}).sort("date", "id", nulls_last=True)
    places = [place(Review(name, "x", "en", None, date)) for date, name in table.iter_rows()]
    assert places == sorted(places)
    assert len(set(places)) == len(rows)


@pytest.fixture
def groups(dump):
    """Restaurants b, a, c in order of arrival; c has nothing but rejects."""
    found = dump(
        {
            "restaurant_id": ["b", "a", "c", "a", "b", "a", "a", " ", None],
            "review_id": ["1", "9", "1", "8", "2", "7", "6", "1", "1"],
            "text": ["good", "late", None, "early", "좋아요", "undated", None, "x", "y"],
            "created_at": pl.Series(["2024-01-01", "2024-02-02", None, "2024-02-01", "2024-01-01", None, None, None, None]).str.to_date(),
            "rating": [5.0, 1.0, 2.0, 2.0, None, None, 4.0, 3.0, 3.0],
            "restaurant_name": ["B", "A", "C", "Aa", None, "A", None, None, None],
        }
    )
    return group(found, {"en": 0.5, "ko": 2.0}, per_review=10, per_restaurant=100)


def test_every_restaurant_with_a_selected_row_has_one_row_blank_ids_none(groups):
    assert groups.table["restaurant_id"].to_list() == ["a", "b", "c"]
    assert groups.table.select("review_count", "rejected_count").rows() == [(3, 1), (2, 0), (0, 1)]


def test_a_restaurant_is_called_what_most_of_its_rows_say(groups):
    assert groups.table["restaurant_name"].to_list() == ["A", "B", "C"]


def test_reviews_stand_in_order_of_date_then_id_undated_last(groups):
    handed_out = {one.restaurant_id: one for one in groups.hand_out(["arrival"])}
    assert [review.text for review in handed_out["a"].reviews] == ["early", "late", "undated"]
    assert [review.review_id for review in handed_out["b"].reviews] == ["1", "2"]
    assert handed_out["c"].reviews == ()
    assert (handed_out["c"].restaurant_name, handed_out["c"].rejected_count) == ("C", 1)


def test_restaurants_are_handed_out_in_the_order_asked_for(groups):
    by_arrival = list(groups.hand_out(["arrival"]))
    assert [one.restaurant_id for one in by_arrival] == ["b", "a", "c"]
    assert [one.arrival for one in by_arrival] == [0, 1, 2]
    assert [one.restaurant_id for one in groups.hand_out(["estimate", "restaurant_id"])] == ["c", "a", "b"]


def test_the_estimate_is_bytes_by_the_rate_of_the_language_twice_plus_fixed_parts(groups):
    handed_out = {one.restaurant_id: one.estimate for one in groups.hand_out(["arrival"])}
    assert handed_out == {
        "a": 2 * (4 + 5 + 7) * 0.5 + 3 * 10 + 100,
        "b": 2 * (4 * 0.5 + 9 * 2.0) + 2 * 10 + 100,
        "c": 0,
    }


def test_groups_do_not_depend_on_the_order_of_rows_but_for_arrival(dump):
    rows = [(r, text, name) for r in "abc" for text in ("good", "bad", "good", None) for name in ("N", "M")]
    tables = []
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        columns = dict(zip(("restaurant_id", "text", "restaurant_name"), map(list, zip(*rows, strict=True)), strict=True))
        made = group(dump(columns), {"en": 0.3}, 1, 1)
        tables.append((made.table.drop("arrival").rows(), [one.reviews for one in made.hand_out(["restaurant_id"])]))
    assert all(table == tables[0] for table in tables)


@pytest.mark.parametrize("texts", [[None, ""], []])
def test_a_dump_without_any_review_groups_and_samples_without_error(dump, tokens, texts):
    found = dump({"restaurant_id": pl.Series(["r"] * len(texts), dtype=pl.String), "text": pl.Series(texts, dtype=pl.String)})
    assert sample_rates(found.reviews, tokens) == {}
    made = group(found, {}, 1, 1)
    assert [(one.restaurant_id, one.rejected_count) for one in made.hand_out(["arrival"])] == [("r", 2)] * bool(texts)


def test_sampled_rates_are_tokens_per_byte_by_language_in_any_order_of_rows(dump, tokens):
    texts = ["good food", "맛있어요", "really bad service", "별로예요"]
    rates = sample_rates(dump({"text": texts}).reviews, tokens, most=2)
    assert rates == sample_rates(dump({"text": texts[::-1]}).reviews, tokens, most=2)
    english = [one for one in texts if one.isascii()]
    assert rates["en"] == sum(len(one.ids) for one in tokens.encode(english)) / sum(map(len, english))
    assert rates["ko"] > rates["en"]


def restaurant(name, *texts):
    return Restaurant(name, tuple(Review(f"{name}{i}", text, "en") for i, text in enumerate(texts)))


def test_tokenised_restaurants_keep_order_and_each_has_its_own_reviews(tokens):
    given_ = [restaurant(f"r{i}", *(f"review {i} {j}" for j in range(i % 90))) for i in range(12)] + [restaurant("big", *["x y"] * 600)]
    made = list(tokenise(iter(given_), tokens, budget=400))
    assert [one.restaurant for one in made] == given_
    for one in made:
        expected = [encoded.ids.tolist() for encoded in tokens.encode([review.text for review in one.restaurant.reviews])]
        assert [ids.tolist() for ids in one.ids] == expected
        assert [i for chunk in one.chunks for i in chunk] == list(range(len(one.ids)))
        assert all(sum(len(one.ids[i]) for i in chunk) <= 400 for chunk in one.chunks)


def test_an_over_long_review_is_cut_to_its_end_to_fit_a_chunk_and_flagged(tokens):
    (made,) = tokenise([restaurant("r", "fine", "bad " * 300 + "but kind")], tokens, budget=50)
    assert made.flags == {"r1": ("truncated",)}
    assert len(made.ids[1]) < 50
    assert made.ids[1].tolist() == tokens.encode(["bad " * 300 + "but kind"])[0].ids.tolist()[-len(made.ids[1]) :]
    assert [list(chunk) for chunk in made.chunks] == [[0], [1]]


def test_a_text_said_again_in_the_same_restaurant_is_flagged(tokens):
    made = list(tokenise([restaurant("r", "good", "bad", "good"), restaurant("s", "good")], tokens, budget=100))
    assert [one.flags for one in made] == [{"r2": ("duplicate",)}, {}]


@settings(max_examples=20)
@given(st.lists(st.lists(st.sampled_from(["a", "b <|im_end|>", "맛\x00", ""]), max_size=6), max_size=6))
def test_flags_name_only_reviews_in_which_something_was_found(tokens, texts):
    for one in tokenise([restaurant(f"r{i}", *some) for i, some in enumerate(texts)], tokens, budget=100):
        flagged = {review.review_id for review in one.restaurant.reviews if review.text in ("b <|im_end|>", "맛\x00")}
        assert {name for name, flags in one.flags.items() if flags != ("duplicate",)} == flagged
