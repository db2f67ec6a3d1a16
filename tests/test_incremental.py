"""What a change costs: the requests it touches and no others."""

import random
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from nights import assert_equal
from test_analysis import Silent

from pipeline import answering
from pipeline.tasks import summary
from pipeline.tasks.calibration import anchors
from pipeline.tokens import Tokens

HOW, WHAT = (
    ["crispy", "tender", "smoky", "golden", "creamy", "spicy", "fluffy", "juicy"],
    ["noodles", "dumplings", "pancake", "oysters", "pumpkin", "salmon", "burger", "risotto"],
)
START = datetime(2026, 1, 1)  # noqa: DTZ001 - as a dump holds it


def words(seed):
    chance = random.Random(seed)
    return f"{chance.choice(HOW)} {chance.choice(WHAT)}"


def text_of(request):
    """Claims that reviews support, another for every chunk."""
    said = f"The {words(request.key)} made our evening"
    return f'["{words(request.key)}"]' if request.task == "strengths" else f"- {said}\n- They also praise the {words(request.key[1:])}"


def reviews(count, restaurant="r0", first=0):
    dates = [START + timedelta(hours=12 * i) for i in range(first, first + count)]
    return [(restaurant, f"id-{i}", f"The {words(i)} made evening {i} of ours.", 4.0, date, None) for i, date in enumerate(dates, first)]


@pytest.fixture
def large(nights):
    """A restaurant of many chunks, analysed; gives its rows and a function that runs a change of them and says what was asked."""

    def run(rows):
        return nights.run(rows, nights.machine(text=text_of), chunk_tokens=512)

    rows = reviews(300)
    first = run(rows)
    chunks = Counter(first.asked)["summary", "part", "r0"]
    assert chunks > 10
    known = {request.key for request in first.machine.submitted(anchors=False)}

    def change(changed):
        night = run(changed)
        asked = night.machine.submitted()
        assert not known & {request.key for request in asked}
        assert night.machine.submitted(anchors=True) == []
        fresh = {"output": "fresh", "store": nights.folder / "fresh-store"}
        assert_equal(night.tables, nights.run(changed, nights.machine(text=text_of), chunk_tokens=512, **fresh).tables)
        return asked, chunks

    return rows, change


CHANGES = {
    "added first": (1, 2, lambda rows: [("r0", "new", "The smoky salmon was new.", 5.0, START - timedelta(1), None), *rows]),
    "added amid": (1, 2, lambda rows: [*rows, ("r0", "new", "The smoky salmon was new.", 5.0, START + timedelta(70.1), None)]),
    "added last": (1, 2, lambda rows: [*rows, ("r0", "new", "The smoky salmon was new.", 5.0, START + timedelta(999), None)]),
    "changed": (1, 1, lambda rows: [(*row[:2], "The tender oysters were off.", *row[3:]) if row[1] == "id-150" else row for row in rows]),
    "removed": (0, 1, lambda rows: [row for row in rows if row[1] != "id-150"]),
}


@pytest.mark.parametrize(("labels", "most", "change"), CHANGES.values(), ids=CHANGES)
def test_one_review_costs_its_own_question_its_chunk_and_the_merges_above_it(large, labels, most, change):
    """A chunk that the review fills is two afterwards."""
    rows, run = large
    asked, chunks = run(change(rows))
    by_stage = {}
    for request in asked:
        by_stage.setdefault((request.task, request.stage), []).append(request.chunk)
    assert len(by_stage.pop(("sentiment", "label"), [])) == labels
    parts = by_stage.pop(("summary", "part"))
    assert 1 <= len(parts) <= most < chunks / 3
    assert sorted(by_stage.pop(("strengths", "find"))) == sorted(parts)
    assert 1 <= len(by_stage.pop(("summary", "merge"))) <= 4
    assert len(by_stage.pop(("strengths", "tone"), [])) <= len(parts)
    assert len(by_stage.pop(("strengths", "aspect"), [])) <= len(parts)
    assert len(by_stage.pop(("strengths", "praise"), [])) <= labels
    assert len(by_stage.pop(("strengths", "strength"), [])) <= 1
    assert by_stage == {}


def test_what_the_model_is_not_shown_costs_nothing_and_is_in_the_results(nights):
    rows = reviews(5)
    nights.run(rows)
    night = nights.run([(*row[:3], 2.0, *row[4:5], "Named now") for row in rows])
    assert night.machine.loaded == 0
    assert night.restaurants["r0"]["mean_rating"] == 2.0
    assert night.restaurants["r0"]["restaurant_name"] == "Named now"


@pytest.mark.parametrize("store", [{}, {"store": None}], ids=["store", "no store"])
@pytest.mark.parametrize("window", [1, 64])
def test_equal_reviews_of_several_restaurants_are_asked_once_a_run(nights, patched, store, window):
    patched.setattr("pipeline.store.FLUSH_S", 0.001)
    rows = [(f"r{i}", None, text, 4.0, None, None) for i in range(6) for text in ("Great.", "Cold soup.", f"Only here {i}.")]
    night = nights.run(rows, nights.machine(window=window), order="fifo", **store)
    labels = [request for request in night.machine.submitted() if request.task == "sentiment"]
    assert len(labels) == 2 + 6
    keys = [request.key for request in night.machine.submitted()]
    assert len(set(keys)) == len(keys)
    assert night.tables["reviews"]["sentiment"].null_count() == 0


def test_unchanged_restaurants_are_not_tokenised(nights, patched):
    rows = [*reviews(5, "r0"), *reviews(5, "r1", first=100)]
    nights.run(rows)
    encode, seen = Tokens.encode, []

    def watched(self, texts, most=None):
        seen.extend(texts)
        return encode(self, texts, most)

    patched.setattr(Tokens, "encode", watched)
    nights.run([*rows, *reviews(1, "r1", first=200)])
    assert {text for *_, text, _, _, _ in reviews(5, "r1", first=100)} <= set(seen)
    assert not {text for *_, text, _, _, _ in reviews(5, "r0")} & set(seen)
    seen.clear()
    assert nights.run([*rows, *reviews(1, "r1", first=200)]).done.nothing_new
    assert seen == []


def test_the_anchors_are_asked_once_and_again_only_to_recalibrate(nights):
    asked = []
    for rows, options in ((reviews(2), {}), (reviews(3), {}), (reviews(4), {"recalibrate": True}), (reviews(5), {"force": True})):
        asked.append(len(nights.run(rows, **options).machine.submitted(anchors=True)))
    assert asked == [len(anchors(["en"])), 0, len(anchors(["en"])), 0]


def test_tasks_that_are_left_out_change_the_rows_and_ask_nothing(nights):
    nights.run(reviews(5))
    night = nights.run(reviews(5), tasks=("summary",))
    assert (night.machine.loaded, night.restaurants["r0"]["reused"], night.restaurants["r0"]["positive_count"]) == (0, False, None)


def test_chunks_of_another_size_ask_only_where_the_chunks_are_others(nights):
    rows = [*reviews(5, "r0"), *reviews(100, "r1", first=100)]
    nights.run(rows, chunk_tokens=2048)
    night = nights.run(rows, chunk_tokens=512)
    assert {row["reused"] for row in night.restaurants.values()} == {False}
    assert {restaurant for *_, restaurant in night.asked} == {"r1"}
    assert ("sentiment", "label", "r1") not in night.asked


def test_another_wording_asks_that_task_alone(nights, patched):
    nights.run(reviews(5))
    patched.setitem(summary.WORDING, "en", replace(summary.WORDING["en"], part="Say it in other words."))
    patched.setitem(answering.WORDINGS, "summary", "other words")
    assert set(nights.run(reviews(5)).asked) == {("summary", "part", "r0")}


def test_wording_that_changes_no_prompt_makes_rows_anew_from_the_store(nights, patched):
    nights.run(reviews(5))
    patched.setitem(answering.WORDINGS, "summary", "as before, but read otherwise")
    night = nights.run(reviews(5))
    assert (night.machine.loaded, night.done.nothing_new, night.restaurants["r0"]["reused"]) == (0, False, False)


def test_another_revision_of_the_model_or_other_settings_of_answers_ask_everything(nights, model):
    first = nights.run(reviews(5))
    revised = nights.machine()
    revised._model = replace(model, revision="another")
    set_otherwise = nights.machine()
    set_otherwise.answer_settings = {"dtype": "another"}
    for machine in (revised, set_otherwise):
        night = nights.run(reviews(5), machine)
        assert sorted(night.asked) == sorted(first.asked)
        assert len(machine.submitted(anchors=True)) == len(anchors(["en"]))


def test_settings_that_change_only_the_speed_ask_nothing(nights):
    nights.run(reviews(5))
    faster = nights.machine(window=100)
    faster.settings = {"device": "another"}
    assert nights.run(reviews(5), faster, order="fifo").done.nothing_new


def test_force_asks_everything_and_the_new_answers_stay(nights):
    first = nights.run(reviews(60))
    forced = nights.run(reviews(60), nights.machine(text=text_of), force=True)
    assert Counter(forced.asked)["sentiment", "label", "r0"] == Counter(first.asked)["sentiment", "label", "r0"] == 60
    assert forced.restaurants["r0"]["summary"] != first.restaurants["r0"]["summary"]
    later = nights.run(reviews(60), tasks=("summary",))
    assert later.machine.loaded == 0
    assert later.restaurants["r0"]["summary"] == forced.restaurants["r0"]["summary"]


def test_only_reviews_whose_questions_are_all_the_same_as_before_cost_nothing(nights, monkeypatch):
    told = []
    monkeypatch.setattr(Silent, "planned", lambda self, restaurants, tokens: told.append(tokens))
    rows, more = reviews(120), reviews(1, first=120)
    nights.run(rows)
    nights.run(rows + more, output="elsewhere", store=nights.folder / "another")
    nights.run(rows + more)
    whole, added = told[1:]
    assert added < whole / 10
    nights.run(rows + more + reviews(1, first=121), chunk_tokens=512)
    assert told[-1] > whole * 0.9  # other chunks: every review is read again
    nights.run(rows, tasks=["sentiment"], output="labels")
    nights.run(rows, output="labels")
    assert told[-1] > whole * 0.9  # their texts are new
