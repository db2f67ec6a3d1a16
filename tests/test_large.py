"""Restaurants with thousands of reviews: a bounded sample, bounded requests, and no more work than they are larger."""

import random
from collections import Counter
from datetime import datetime, timedelta

import pytest
from deterministic_engine import DeterministicEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from test_incremental import text_of, words
from test_tasks import READS, run

from pipeline.order import ORDERS
from pipeline.records import Restaurant, Review
from pipeline.restaurants import tokenise
from pipeline.run import Loop
from pipeline.sampling import MAX_REVIEWS
from pipeline.tasks import sentiment, strengths, summary

START = datetime(2020, 1, 1)  # noqa: DTZ001 - as a dump holds it
BOTH = READS | {"ko": READS["en"]}


def tasks(tokens):
    labels = sentiment.SentimentTask(tokens, BOTH)
    return [labels, summary.SummaryTask(tokens, set(BOTH)), strengths.StrengthsTask(tokens, set(BOTH), labels)]


def guests(count, days, seed=0, dated=True):
    """Reviews of 10 to 60 words at random moments of these days."""
    chance = random.Random(seed)
    return tuple(
        Review(
            f"{seed}-{i}",
            f"The {words(100_000 * seed + i)} made evening {i} of ours. " + "We liked it so much! " * chance.randint(1, 10),
            "en",
            None,
            START + timedelta(days * chance.random()) if dated else None,
        )
        for i in range(count)
    )


def in_order(reviews):
    return tuple(sorted(reviews, key=lambda one: (one.created_at or datetime.max, one.review_id)))  # noqa: DTZ901


def requests_by_task(tokens, reviews):
    (made,) = tokenise([Restaurant("large", in_order(reviews))], tokens, 2560)
    engine = DeterministicEngine(text=text_of, window=64, per_step=64)
    (outcome,) = Loop(tasks(tokens), ORDERS["restaurant"], engine).run(iter([made]))
    assert outcome.status == "ok"
    return Counter(request.task for request in engine.submitted)


@pytest.mark.parametrize(
    ("more", "dated"), [((1500, 700, 1), True), ((1500, 1400, 1), True), ((1500, 700, 1), False)], ids=["denser", "longer", "undated"]
)
def test_twice_the_reviews_make_at_most_2_1_times_the_requests_of_each_task(tokens, more, dated):
    few = guests(1500, 700, dated=dated)
    many = (*few, *guests(*more, dated=dated))
    before, after = requests_by_task(tokens, few), requests_by_task(tokens, many)
    assert before["sentiment"] == 1500
    assert before["summary"] > 20
    for task, count in before.items():
        assert after[task] <= 2.1 * count, task
    assert after.total() <= 2.1 * before.total()


@pytest.fixture
def rows():
    """3,000 reviews of one restaurant over six years, as a dump has them."""
    return [("r0", one.review_id, one.text, 4.0, one.created_at, None) for one in guests(3000, 2200)]


def test_a_restaurant_of_3000_reviews_is_labelled_whole_and_summarised_from_a_sample(nights, rows):
    night = nights.run(rows, nights.machine(text=text_of, window=64, per_step=64))
    row = night.restaurants["r0"]
    assert (row["status"], row["review_count"], row["sampled_count"]) == ("ok", 3000, MAX_REVIEWS)
    assert row["positive_count"] + row["neutral_count"] + row["negative_count"] + row["unlabelled_count"] == 3000
    assert night.done.manifest["settings"]["max_reviews"] == MAX_REVIEWS
    asked = Counter(night.asked)
    assert asked["sentiment", "label", "r0"] == 3000
    assert 10 < asked["summary", "part", "r0"] == asked["strengths", "find", "r0"] < 60
    assert row["summary"]
    assert all(sentence["review_ids"] for sentence in row["summary_sentences"])
    for request in night.machine.submitted():
        assert len(request.prompt) + request.sampling.max_tokens <= 4096


def test_one_more_review_of_a_sampled_restaurant_changes_at_most_two_places_of_its_texts(nights, rows):
    def parts(night):
        return [request for request in night.machine.submitted() if request.stage == "part"]

    machine = {"text": text_of, "window": 64, "per_step": 64}
    whole = len(parts(nights.run(rows, nights.machine(**machine), max_reviews=500)))
    for i in range(3):
        rows = [*rows, ("r0", f"new-{i}", "The smoky salmon was new.", 5.0, START + timedelta(100 * i), None)]
        night = nights.run(rows, nights.machine(**machine), max_reviews=500)
        assert Counter(night.asked)["sentiment", "label", "r0"] == (1 if i == 0 else 0)
        # One review enters and may fill its chunk, which is two then; one leaves, and what it leaves may fit one chunk again.
        assert len(parts(night)) <= 3 < whole / 3
        assert night.restaurants["r0"]["sampled_count"] == 500


def test_another_size_of_the_sample_makes_rows_anew_and_asks_no_label_again(nights, rows):
    machine = {"text": text_of, "window": 64, "per_step": 64}
    nights.run(rows[:300], nights.machine(**machine), max_reviews=100)
    night = nights.run(rows[:300], nights.machine(**machine), max_reviews=200)
    assert (night.restaurants["r0"]["reused"], night.restaurants["r0"]["sampled_count"]) == (False, 200)
    assert {task for task, *_ in night.asked} == {"summary", "strengths"}


ANY_TEXT = st.one_of(
    st.text(min_size=1, max_size=60),
    st.sampled_from(["맛있어요 ", "The soup was hot and the staff kind. ", "🍜🍜 ", "a", "\n", "<|im_end|>", "ㅋㅋㅋ"]).flatmap(
        lambda text: st.integers(1, 400).map(lambda times: text * times)
    ),
)


@settings(max_examples=25)
@given(
    texts=st.lists(ANY_TEXT.filter(str.strip), min_size=1, max_size=40),
    said=ANY_TEXT,
    cut=st.booleans(),
    budget=st.sampled_from([512, 700, 2560]),
    korean=st.booleans(),
)
def test_no_request_exceeds_its_budget_whatever_guests_and_model_say(tokens, texts, said, cut, budget, korean):
    reviews = tuple(Review(f"r{i}", text, "ko" if korean else "en") for i, text in enumerate(texts))
    (made,) = tokenise([Restaurant("any", reviews)], tokens, budget)
    for task in tasks(tokens):
        engine = DeterministicEngine(text=lambda request: "\n- ".join([said] * 3), cut=lambda request, cut=cut: cut, max_model_len=1 << 20)
        run(task, made, engine)
        for request in engine.submitted:
            assert len(request.prompt) + request.sampling.max_tokens <= budget + task.overhead
