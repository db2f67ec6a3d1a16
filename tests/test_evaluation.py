"""Figures of known tables, exact; what is drawn; what is said when nothing can be measured."""

import numpy as np
import polars as pl
import pytest
from test_cli import assert_clean_error, jobs

from pipeline.errors import BadData
from pipeline.evaluation.bootstrap import DRAWS, estimate, mean
from pipeline.evaluation.labels import with_truth
from pipeline.evaluation.samples import Evaluation, draw, left_out, sample_reviews, split_restaurants
from pipeline.evaluation.sentiment import area_under_curve, measure_sentiment, two_class


def table(*rows):
    """(restaurant, truth, answer, score) with a length and a language."""
    columns = [(*row[:2], "en", 50, row[3], row[2]) for row in rows]
    schema = ["restaurant_id", "truth", "language", "length", "score", "answer"]
    return pl.DataFrame(columns, schema=schema, orient="row", schema_overrides={"score": pl.Float64})


KNOWN = table(
    ("a", "positive", "positive", 3.0),
    ("a", "positive", "positive", 2.0),
    ("a", "positive", "neutral", 0.1),
    ("b", "positive", "negative", -2.0),
    ("b", "negative", "negative", -2.0),
    ("b", "negative", "unlabelled", None),
    ("b", "neutral", "positive", 1.0),
)


def test_the_figures_of_a_known_table():
    found = measure_sentiment(KNOWN, seed=1)["all"]
    assert (found["reviews"], found["restaurants"], found["unlabelled"]) == (6, 2, 1)
    assert found["accuracy"]["value"] == 3 / 6
    assert found["balanced_accuracy"]["value"] == (2 / 4 + 1 / 2) / 2
    assert found["area_under_curve"]["value"] == 3.5 / 4  # the score below 0 that both sides have is half won
    assert found["majority_class"] == {"label": "positive", "accuracy": 4 / 6}


def test_neutral_reviews_are_counted_apart():
    assert measure_sentiment(KNOWN, seed=1)["confusion"] == {
        "positive": {"positive": 2, "neutral": 1, "negative": 1, "unlabelled": 0},
        "neutral": {"positive": 1, "neutral": 0, "negative": 0, "unlabelled": 0},
        "negative": {"positive": 0, "neutral": 0, "negative": 1, "unlabelled": 1},
    }


def test_figures_by_language_and_length_are_those_of_their_rows():
    rows = KNOWN.with_columns(
        length=pl.Series([99, 100, 299, 300, 10, 500, 10]), language=pl.Series(["en", "ko", "ko", "en", "ko", "en", "en"])
    )
    found = measure_sentiment(rows, seed=1)
    assert {name: part["reviews"] for name, part in found["by_length"].items()} == {
        "under 100 characters": 2,
        "100 to 299 characters": 2,
        "300 characters or more": 2,
    }
    assert found["by_language"]["Korean"]["accuracy"]["value"] == 2 / 3
    assert found["by_length"]["100 to 299 characters"]["balanced_accuracy"]["value"] is None, "there is no negative one"


def test_the_area_under_the_curve_is_that_of_a_library_with_weights_and_ties():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(3)
    scores, positive, times = random.integers(0, 20, 200), random.random(200) < 0.4, random.integers(0, 4, 200)
    ranks = pl.Series(scores).rank("dense").to_numpy()
    assert area_under_curve(positive, ranks, times) == pytest.approx(roc_auc_score(positive, scores, sample_weight=times), abs=1e-12)


def test_the_interval_depends_on_the_seed_alone():
    values, whose = [i * i % 7 / 7 for i in range(40)], [f"r{i % 10}" for i in range(40)]
    assert mean(values, whose, seed=1) == mean(values, whose, seed=1)
    assert mean(values, whose, seed=1) != mean(values, whose, seed=2)
    found = mean(values, whose, seed=1)
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(sum(values) / 40)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    """Restaurants of which each has its own share: drawing reviews instead of restaurants would cover half as often."""
    random = np.random.default_rng(0)
    covered = 0
    for seed in range(100):
        shares = np.repeat(random.beta(2, 2, size=40), 10)
        found = mean(random.random(400) < shares, [f"r{i // 10}" for i in range(400)], seed)
        covered += found.low <= 0.5 <= found.high
    assert 88 <= covered <= 100


def test_whole_restaurants_are_drawn():
    """All rows of a restaurant alike: the mean of two restaurants can only be that of one, the other, or both."""
    seen = set()
    whose = ["a"] * 30 + ["b"] * 30

    def record(times):
        assert len(set(times[:30])) == len(set(times[30:])) == 1
        seen.add((times[0], times[-1]))
        return 0.5

    estimate(record, whose, seed=5)
    assert seen == {(1.0, 1.0), (2.0, 0.0), (0.0, 2.0)}
    assert DRAWS == 1000


def test_one_restaurant_has_a_figure_and_no_interval():
    found = mean([0.0, 1.0], ["a", "a"], seed=1)
    assert (found.value, found.low, found.high) == (0.5, None, None)


def test_a_figure_that_most_draws_do_not_define_has_no_interval():
    rows = table(*(("a", "positive", "positive", 1.0) for _ in range(5)), ("b", "negative", "negative", -1.0))
    found = two_class(rows, seed=1)["balanced_accuracy"]
    assert found == {"value": 1.0, "low": None, "high": None}


def test_nothing_to_measure_is_no_figure():
    assert mean([], [], seed=1).value is None


def reviews(sizes, stars=lambda i: float(1 + i % 5), language="en"):
    rows = [(name, f"{name}-{i}", f"Text {i} about {name}.", stars(i), language) for name, size in sizes.items() for i in range(size)]
    return pl.DataFrame(rows, schema=["restaurant_id", "review_id", "text", "rating", "language"], orient="row")


def known(frame):
    return frame.with_columns(
        truth=pl.when(pl.col("rating") > 3)
        .then(pl.lit("positive"))
        .when(pl.col("rating") < 3)
        .then(pl.lit("negative"))
        .otherwise(pl.lit("neutral"))
    )


def test_the_sample_is_the_same_whatever_the_order_of_rows():
    frame = known(reviews({"a": 50, "b": 50}))
    one, other = (sample_reviews(rows, 20, seed=7) for rows in (frame, frame.reverse()))
    assert one.equals(other)
    assert one.height == 20
    assert set(one["truth"]) == {"positive", "negative"}
    assert not one.equals(sample_reviews(frame, 20, seed=8))


def test_neutral_reviews_come_in_the_proportion_of_the_dump_and_change_no_other():
    frame = known(reviews({"a": 50, "b": 50}))  # 80 of them positive or negative, 20 neutral
    one, other = sample_reviews(frame, 40, seed=7), sample_reviews(frame, 40, seed=7, neutral=True)
    assert other.filter(pl.col("truth") == "neutral").height == 10
    assert other.filter(pl.col("truth") != "neutral").equals(one)


def test_a_split_moves_no_review_when_others_are_added():
    (before,) = split_restaurants(reviews({"a": 60}), 1, seed=7)
    (after,) = split_restaurants(reviews({"a": 90}), 1, seed=7)
    assert set(before.left_out) < set(after.left_out)
    assert set(before.put_in["text"]) < set(after.put_in["text"])
    assert not set(after.left_out) & set(after.put_in["text"])


def test_a_fifth_is_left_out_and_equal_texts_stay_together():
    share = sum(left_out(f"r{i % 40}", f"text {i}") for i in range(4000)) / 4000
    assert 0.18 < share < 0.22
    frame = reviews({"a": 40}).with_columns(text=pl.lit("the same"))
    with pytest.raises(BadData, match="to put in and leave out"):
        split_restaurants(frame, 1, seed=7)


def test_a_restaurant_is_compared_with_as_many_reviews_of_others():
    frame = reviews({"a": 30, "b": 30, "c": 4})
    splits = split_restaurants(frame, 5, seed=7)
    assert sorted(split.restaurant_id for split in splits) == ["a", "b"], "c is too small to be split"
    for split in splits:
        assert len(split.others) == split.put_in.height
        assert not any(f"about {split.restaurant_id}." in text for text in split.others)
        assert set(split.random) <= set(split.put_in["text"])


def test_others_write_in_the_same_language():
    frame = pl.concat([reviews({"a": 30, "b": 30}), reviews({"k": 30}, language="ko")])
    (split,) = [one for one in split_restaurants(frame, 3, seed=7) if one.restaurant_id == "a"]
    assert all(text.endswith("about b.") for text in split.others)


def test_restaurants_with_references_are_taken_and_no_others():
    frame = reviews({"a": 30, "b": 30, "c": 30})
    assert [one.restaurant_id for one in split_restaurants(frame, 5, seed=7, among={"b", "elsewhere"})] == ["b"]
    with pytest.raises(BadData, match="no restaurant with a reference summary"):
        split_restaurants(frame, 5, seed=7, among={"elsewhere"})


@pytest.mark.parametrize(
    ("values", "truths"),
    [
        (["Positive", " neutral ", "NEGATIVE", None, ""], ["positive", "neutral", "negative"]),
        ([1, 0, 1, None, 0], ["positive", "negative", "positive", "negative"]),
        ([1.0, 0.0, float("nan"), None, 1.0], ["positive", "negative", "positive"]),
        ([True, False, None, None, True], ["positive", "negative", "positive"]),
    ],
)
def test_labels_of_a_column_of_ones_own(dump, values, truths):
    judged = with_truth(dump({"verdict": values, "rating": [3.0] * 5}), "verdict")
    assert judged.sort("text")["truth"].to_list() == truths


def test_labels_find_their_rows_over_several_files(dump):
    judged = with_truth(dump({"text": ["a", None, "c"], "verdict": [1, 1, 0]}, {"text": ["d"], "verdict": [0]}), "verdict")
    assert dict(judged.select("text", "truth").iter_rows()) == {"a": "positive", "c": "negative", "d": "negative"}


def test_stars_are_labels_and_a_review_without_any_is_left_out(dump):
    judged = with_truth(dump({"rating": [5.0, 3.5, 3.0, 2.5, None]}))
    assert judged.sort("text")["truth"].to_list() == ["positive", "positive", "neutral", "negative"]


def test_what_is_no_label_is_named(dump):
    with pytest.raises(BadData, match=r"column 'verdict' holds '2', 'good' in 3 rows; a label is one of positive"):
        with_truth(dump({"verdict": ["good", "2", "2", "1"]}), "verdict")
    with pytest.raises(BadData, match=r"has no column 'verdict' \(columns found: restaurant_id, text"):
        with_truth(dump({"rating": [1.0]}), "verdict")
    with pytest.raises(BadData, match="labels are text, numbers or booleans"):
        with_truth(dump({"verdict": [[1], [0]]}), "verdict")


def test_texts_need_no_ratings(dump):
    samples = draw(dump({"text": [f"Text {i}" for i in range(40)]}), Evaluation(tasks=("summary",)))
    assert samples.reviews is None
    assert [split.restaurant_id for split in samples.splits] == ["r"]
    assert samples.languages == {"en"}


def evaluate(*arguments):
    return jobs("evaluate", *arguments)


@pytest.fixture
def path(tmp_path, write_dump):
    rows = [{"restaurant_id": "a", "text": f"Text {i}", "stars": 5, "verdict": "good", "summary": None} for i in range(30)]
    return write_dump(tmp_path / "dump.parquet", rows)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 65, ["no review has a rating other than 3", "--column rating=YOUR_COLUMN", "--tasks summary,strengths"]),
        (["--label-column", "nothing"], 65, ["has no column 'nothing'", "verdict"]),
        (["--label-column", "verdict"], 65, ["'good' in 30 rows"]),
        (["--column", "rating=stars", "--references", "nowhere.parquet"], 66, ["nowhere.parquet"]),
        (["--tasks", "magic"], 2, ["magic"]),
        (["--output", "s3://bucket"], 2, ["local folder"]),
    ],
)
def test_errors_come_before_a_model_is_loaded(path, arguments, code, words):
    done = evaluate(path, *arguments)
    assert_clean_error(done, code, *words)
    assert "starting vLLM" not in done.stderr


def test_a_reference_file_without_text_is_an_error(path):
    assert_clean_error(evaluate(path, "--column", "rating=stars", "--references", path), 65, "holds no reference summary")


def test_an_output_that_is_a_file_is_an_error(path):
    assert_clean_error(evaluate(path, "--column", "rating=stars", "--output", path), 78, "choose another --output")
