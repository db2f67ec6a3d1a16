"""Grouping, order inside a group, estimates, and where chunks end."""

import random
from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.answering import tasks_for
from pipeline.groups import group, sample_rates
from pipeline.job import CHUNK_TOKENS
from pipeline.order import prefill_cost
from pipeline.reads import Reads, together
from pipeline.records import Restaurant, Review
from pipeline.restaurants import MARKS, cut, place, tokenise
from pipeline.tasks.calibration import Fit
from pipeline.tasks.known import TASKS

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
    return group(found, {"en": 0.5, "ko": 2.0}, dict.fromkeys(["en", "ko"], Reads(alone=10, chunks=1, around=120, tails=100)))


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
        "a": 2 * (4 + 5 + 7) * 0.5 + 3 * (10 + MARKS) + 100,
        "b": 2 * (4 * 0.5 + 9 * 2.0) + 2 * (10 + MARKS) + 100,
        "c": 0,
    }


ASKED = Reads(alone=105, common=96, chunks=2, around=300, tails=80)


def estimated(found, reads, **more):
    return {one.restaurant_id: one for one in group(found, {"en": 0.5, "ko": 1.0}, reads, **more).hand_out(["arrival"])}


def test_the_estimate_leaves_out_what_the_prefix_cache_serves_and_the_prompts_hold_it(dump):
    found = dump({"text": ["x" * 20] * 3, "review_id": ["1", "2", "3"]})
    one = estimated(found, {"en": ASKED}, block_size=32)["r"]
    assert one.estimate == 3 * (10 + 105 - 96) + 3 * (10 + MARKS) + 80
    assert one.prompt_tokens == 3 * (10 + 105) + 2 * 3 * (10 + MARKS) + 300
    without = estimated(found, {"en": ASKED}, block_size=None)["r"]
    assert without.estimate == one.estimate + 3 * 96


def test_many_short_reviews_are_not_dearer_than_fewer_long_ones_that_compute_more(dump):
    found = dump({"restaurant_id": ["short"] * 100 + ["long"] * 20, "text": ["x" * 20] * 100 + ["x" * 400] * 20})
    costs = estimated(found, {"en": ASKED}, block_size=32)
    assert costs["short"].estimate < costs["long"].estimate


def test_what_no_task_asks_about_is_not_estimated(dump):
    found = dump({"restaurant_id": ["r", "r", "korean"], "text": ["x" * 20, "x" * 20, "맛" * 20]})
    labels, summaries = (estimated(found, {"en": one}) for one in (Reads(alone=10), Reads(chunks=1, tails=7)))
    assert (labels["r"].estimate, summaries["r"].estimate) == (2 * (10 + 10), 2 * (10 + MARKS) + 7)
    assert (labels["korean"].estimate, labels["korean"].prompt_tokens, summaries["korean"].estimate) == (0, 0, 0)


def test_only_the_sample_is_estimated_where_no_task_asks_about_every_review(dump):
    found = dump({"text": ["x" * 20] * 4, "review_id": list("abcd")})
    every = Reads(alone=10) | Reads(alone=10, sampled=True, chunks=1)
    sample = Reads(alone=10, sampled=True, chunks=1)
    chunks = 2 * (10 + MARKS)
    assert estimated(found, {"en": every}, max_reviews=2)["r"].estimate == 4 * (10 + 10) + chunks
    assert estimated(found, {"en": sample}, max_reviews=2)["r"].estimate == 2 * (10 + 10) + chunks


def test_the_estimate_is_about_what_the_first_requests_of_all_tasks_compute(dump, tokens):
    sentence = "The soup was warm and the waiter slow, but we would come again. "
    said = {"short": [sentence] * 40, "long": [sentence * 6] * 8, "one": [sentence]}
    rows = [(name, f"{text} {number}") for name, texts in said.items() for number, text in enumerate(texts)]
    found = dump({"restaurant_id": [name for name, _ in rows], "text": [text for _, text in rows]})
    tasks = tasks_for(TASKS, tokens, {"en": Fit(1.0, 0.0, 0.95, 0.9, 10)})
    groups = group(found, sample_rates(found, tokens), together(task.reads for task in tasks), block_size=32)
    for restaurant in tokenise(groups.hand_out(["arrival"]), tokens, CHUNK_TOKENS):
        asked = {request.key: request for task in tasks for request in next(task.plan(restaurant))}
        exact = prefill_cost(asked.values(), 32)
        assert restaurant.restaurant.estimate == pytest.approx(exact, rel=0.1, abs=48), restaurant.restaurant.restaurant_id


def test_tasks_together_ask_about_single_reviews_once_and_over_chunks_each():
    sentiment, summary = {"en": Reads(alone=10, common=4)}, {"en": Reads(chunks=1, around=9, tails=5)}
    strengths = {"en": Reads(alone=10, common=4, sampled=True, chunks=1, around=8, tails=3), "ko": Reads(chunks=1)}
    found = together([summary, strengths, sentiment])
    assert found == {"en": Reads(alone=10, common=4, chunks=2, around=17, tails=8), "ko": Reads(chunks=1)}
    assert together([summary, strengths])["en"].sampled


def test_new_reviews_alone_are_counted_where_others_were_asked_about_before(dump):
    found = dump({"text": ["x" * 20] * 3, "review_id": ["1", "2", "3"]})
    answered = pl.DataFrame({"restaurant_id": ["r", "r"], "review_id": ["1", "3"]})
    table = group(replace(found, answered=answered.filter), {"en": 0.5}, {"en": Reads(alone=10)}).table
    assert table.select("review_count", "new_count", "estimate").row(0) == (3, 1, 10 + 10)


def test_groups_do_not_depend_on_the_order_of_rows_but_for_arrival(dump):
    rows = [(r, text, name) for r in "abc" for text in ("good", "bad", "good", None) for name in ("N", "M")]
    tables = []
    for seed in range(4):
        random.Random(seed).shuffle(rows)
        columns = dict(zip(("restaurant_id", "text", "restaurant_name"), map(list, zip(*rows, strict=True)), strict=True))
        made = group(dump(columns), {"en": 0.3})
        tables.append((made.table.drop("arrival").rows(), [one.reviews for one in made.hand_out(["restaurant_id"])]))
    assert all(table == tables[0] for table in tables)


@pytest.mark.parametrize("texts", [[None, ""], []])
def test_a_dump_without_any_review_groups_and_samples_without_error(dump, tokens, texts):
    found = dump({"restaurant_id": pl.Series(["r"] * len(texts), dtype=pl.String), "text": pl.Series(texts, dtype=pl.String)})
    assert sample_rates(found, tokens) == {}
    made = group(found)
    assert [(one.restaurant_id, one.rejected_count) for one in made.hand_out(["arrival"])] == [("r", 2)] * bool(texts)


def test_sampled_rates_are_tokens_per_byte_by_language_in_any_order_of_rows(dump, tokens):
    texts = ["good food", "맛있어요", "really bad service", "별로예요"]
    rates = sample_rates(dump({"text": texts}), tokens, most=2)
    assert rates == sample_rates(dump({"text": texts[::-1]}), tokens, most=2)
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
