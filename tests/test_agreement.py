"""Labels held against the dump's ratings: figures of a run, and the warning where they part."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_analysis import readable, run  # noqa: F401 - fixtures

from jobs.analyze import closing_table
from pipeline.agreement import LEAST_AGREEMENT, LEAST_OF_RESTAURANT, LEAST_RATED, agreement

LABELS = ("positive", "neutral", "negative", None)
ROW = st.tuples(st.sampled_from("abc"), st.sampled_from((None, 1.0, 2.5, 3.0, 3.5, 5.0)), st.sampled_from(LABELS))


def tables(rows):
    """Dump and labels out of (restaurant, rating, label)."""
    named = [(place, f"{i}", rating, label) for i, (place, rating, label) in enumerate(rows)]
    schema = {"restaurant_id": pl.String, "review_id": pl.String, "rating": pl.Float64, "sentiment": pl.String}
    frame = pl.DataFrame(named, schema=schema, orient="row")
    return frame.drop("sentiment"), frame.drop("rating")


def of(rows):
    return agreement(*tables(rows))


@settings(max_examples=60)
@given(rows=st.lists(ROW, max_size=40))
def test_figures_are_those_of_a_plain_count(rows):
    found = of(rows)
    sides = {"positive": [], "negative": []}
    for _, rating, label in rows:
        if rating is not None and rating != 3 and label is not None:
            truth = "positive" if rating > 3 else "negative"
            sides[truth].append(label == truth)
    right = sides["positive"] + sides["negative"]
    if not right:
        assert found is None
        return
    assert found.reviews == len(right)
    assert found.agreement == pytest.approx(sum(right) / len(right))
    shares = [sum(side) / len(side) for side in sides.values() if side]
    assert found.balanced == (pytest.approx(sum(shares) / 2) if len(shares) == 2 else None)
    assert sum(found.three_stars.values()) == sum(rating == 3 and label is not None for _, rating, label in rows)


def test_neutral_agrees_with_no_rating_and_three_stars_are_no_check():
    found = of([("a", 5.0, "neutral"), ("a", 1.0, "negative"), ("a", 3.0, "negative"), ("a", 3.0, "neutral")])
    assert (found.reviews, found.agreement, found.balanced) == (2, 0.5, 0.5)
    assert found.three_stars == {"positive": 0, "neutral": 1, "negative": 1}


def test_a_rating_that_is_no_number_is_none():
    assert of([("a", float("nan"), "positive"), ("a", 5.0, "positive")]).reviews == 1


def many(wrong, each=100):
    return [("a" if i % 2 else "b", stars, "positive" if i < wrong else "negative") for stars in (1.0,) for i in range(each)] + [
        ("c", 5.0, "positive") for _ in range(each)
    ]


def test_a_run_that_agrees_too_little_warns_and_counts_the_low_restaurants():
    found = of(many(60))
    assert found.balanced == 0.7 < LEAST_AGREEMENT
    assert found.low_restaurants == 2
    assert "in 2 of 3 restaurants" in found.warning
    assert of(many(30)).warning is None


def test_a_run_that_agrees_clearly_less_than_the_one_before_warns_though_it_is_good_enough():
    rows = many(wrong=20)  # 80 % of one side, all of the other
    assert agreement(*tables(rows)).warning is None
    assert agreement(*tables(rows), before=0.94).warning is None
    assert "in the run before in 96%" in agreement(*tables(rows), before=0.96).warning
    assert agreement(*tables(rows), before=0.85).warning is None


def test_few_rated_reviews_of_a_side_are_no_reason_to_warn():
    few = [("a", 1.0, "positive")] * (LEAST_RATED - 1) + [("a", 5.0, "positive")] * 100
    assert of(few).warning is None
    assert of([*few, ("a", 1.0, "positive")]).warning


def test_a_restaurant_with_few_rated_reviews_counts_neither_as_low_nor_as_fine():
    few = [("a", 1.0, "positive")] * (LEAST_OF_RESTAURANT - 1)
    assert of([*few, ("b", 1.0, "negative")]).restaurants == 0
    found = of([*few, ("a", 1.0, "positive")])
    assert (found.restaurants, found.low_restaurants) == (1, 1)


def test_labels_of_restaurants_outside_the_selection_do_not_count():
    dump, labelled = tables([("a", 5.0, "positive"), ("b", 5.0, "negative")])
    assert agreement(dump.filter(restaurant_id="a"), labelled).agreement == 1.0


def dishes(count, rating):
    return [("r0", f"{rating}-{i}", f"Dish {i} of {rating} was fine.", rating, None, None) for i in range(count)]


def test_a_run_tells_its_agreement_in_manifest_and_closing_table_and_warns(run):  # noqa: F811
    done, result = run([*dishes(30, 5.0), *dishes(30, 1.0)], tasks=("sentiment",))
    told = done.manifest["rating_agreement"]
    assert told["reviews"] == 60
    assert told["agreement"] == pytest.approx(result["restaurants"]["rating_agreement"].item())
    assert told["balanced"] == pytest.approx(0.5, abs=0.2)  # an engine without a model
    assert "try --calibrate-on ratings" in told["warning"]
    assert "agreement    " in closing_table(done)


def test_rows_carried_over_count_in_the_agreement(run, tmp_path):  # noqa: F811
    made = [*dishes(9, 5.0), *dishes(9, 1.0)]
    first, _ = run(made, tasks=("sentiment",), store=tmp_path / "store")
    more = ("r1", "x", "Something new.", None, None, None)
    again, result = run([*made, more], tasks=("sentiment",), store=tmp_path / "store")
    assert dict(result["restaurants"].select("restaurant_id", "reused").rows()) == {"r0": True, "r1": False}
    assert again.manifest["rating_agreement"] == first.manifest["rating_agreement"]


def test_a_dump_without_ratings_has_no_agreement(run):  # noqa: F811
    done, _ = run([("r0", "a", "Soup.", None, None, None)], tasks=("sentiment",))
    assert done.manifest["rating_agreement"] is None
    assert "agreement" not in closing_table(done)
