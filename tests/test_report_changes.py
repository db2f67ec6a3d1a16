"""The page about two runs: which restaurants are different, why, and what was set otherwise."""

import copy

import pytest
from made_runs import made_run, restaurant, review
from pages import Page
from test_cli import jobs
from test_incremental import START, reviews, text_of

from pipeline.report import moved
from pipeline.report.between import differences, same_questions
from pipeline.report.moved import compare
from pipeline.report.opened import open_run
from pipeline.report.two_runs import write_changes


@pytest.fixture
def two(tmp_path):
    """Runs with these rows; `manifest` entries of the second one."""

    def two(old, new, old_reviews=None, new_reviews=None, **manifest):
        before = open_run(made_run(tmp_path / "old", old, old_reviews))
        return before, open_run(made_run(tmp_path / "new", new, new_reviews, **manifest))

    return two


def kinds(compared):
    return {one.restaurant_id: one.kind for some in compared.most.values() for one in some}


def test_new_reviews_and_another_answer_to_the_same_are_told_apart(two):
    said = {"summary": "Other.", "summary_sentences": [{"text": "Other.", "review_ids": ["same-0"]}]}
    old = [restaurant("kept", 3), restaurant("same", 3), restaurant("more", 3), restaurant("gone", 3)]
    new = [restaurant("kept", 3), restaurant("same", 3, **said), restaurant("more", 5, **said), restaurant("new", 3)]
    found = compare(*two(old, new, wording={"sentiment": "aaaa", "summary": "other", "strengths": "cccc"}), 10)
    assert kinds(found) == {"same": "answers", "more": "reviews", "gone": "gone", "new": "new"}
    assert found.number["same"] == 1
    assert (found.reviews["added"], found.reviews["removed"]) == (2, 0)
    assert found.parts == {"summary": 1}


def test_a_review_rewritten_under_its_id_is_a_new_review(two):
    said = {"summary": "Other.", "fingerprint": "other-0"}
    found = compare(*two([restaurant("r", 3)], [restaurant("r", 3, **said)]), 10)
    assert kinds(found) == {"r": "reviews"}


def test_with_other_settings_a_fingerprint_says_nothing_of_reviews(two):
    said = {"summary": "Other.", "fingerprint": "other-0"}
    found = compare(*two([restaurant("r", 3)], [restaurant("r", 3, **said)], identity="two"), 10)
    assert kinds(found) == {"r": "answers"}


def test_a_comparison_that_changed_with_its_peers_says_so(two):
    new = restaurant("r", 3, comparison_summary="Better now.", fingerprint="own r-1")
    (one,) = compare(*two([restaurant("r", 3)], [new]), 10).most["answers"]
    assert (one.parts, one.peers_only) == (("comparison",), True)


def test_labels_count_as_turned_outside_the_margin_only(two):
    old = [review("r", 0), review("r", 1, score=0.0004), review("r", 2, score=2.0)]
    new = [
        review("r", 0, sentiment="negative", score=-1.0),
        review("r", 1, sentiment="negative", score=-0.0004),
        review("r", 2, score=2.0005),
    ]
    (one,) = compare(*two([restaurant("r", 3)], [restaurant("r", 3)], old, new), 10).most["answers"]
    assert (one.flipped, one.scores) == (1, 1)


def test_ranges_of_restaurants_change_nothing(two, monkeypatch):
    old = [restaurant(f"r{i:03}", 1 + i % 7) for i in range(60)]
    new = [restaurant(f"r{i:03}", 1 + (i + i % 5) % 7) for i in range(5, 70)]
    runs = two(old, new)
    whole = compare(*runs, 100)
    monkeypatch.setattr(moved, "ROWS_TOGETHER", 10)
    assert len(list(moved._ranges(*runs))) > 10
    assert compare(*runs, 100) == whole


def test_the_same_run_twice_is_no_change(nights):
    done = nights.run(reviews(8), nights.machine(text=text_of)).done
    found = compare(done, done, 10)
    assert found.number == {"same": 1}
    assert differences(done.manifest, done.manifest) == []


def test_a_night_with_one_more_review_is_told_from_real_runs(nights):
    rows = [*reviews(8), *reviews(8, "r1", first=40)]
    first = nights.run(rows, nights.machine(text=text_of)).done
    second = nights.run([*rows, ("r1", "new", "The smoky salmon was new.", 5.0, START, None)], nights.machine(text=text_of)).done
    found = compare(first, second, 10)
    assert found.number["reviews"] == 1
    assert found.most["reviews"][0].added == 1
    page = Page(write_changes(first, second).read_text())
    assert "1 review more" in page.below("reviews")


def test_what_was_set_otherwise_is_named_by_kind(two):
    before, after = two([restaurant("r")], [restaurant("r")])
    told = copy.deepcopy(dict(after.manifest))
    told["wording"]["summary"] = "other"
    told["model"], told["revision"] = "bigger", "two"
    told["settings"]["engine_options"]["max_num_seqs"] = 64
    told["calibration"]["en"]["slope"] = 2.0
    found = {(one.kind, one.name): (one.before, one.after) for one in differences(before.manifest, told)}
    assert found == {
        ("prompt", "wording.summary"): ("bbbb", "other"),
        ("model", "model"): ("embedded", "bigger"),
        ("model", "revision"): ("one", "two"),
        ("calibration", "calibration.en.slope"): ("1", "2"),
        ("setting", "settings.engine_options.max_num_seqs"): ("32", "64"),
    }
    assert not same_questions(before.manifest, told)


def test_the_page_shows_both_answers_and_escapes_them(two):
    said = {"summary_sentences": [{"text": "<script>alert(1)</script>", "review_ids": ["r-0"]}], "restaurant_name": "<b>R</b>"}
    old = restaurant("r", 3, restaurant_name="<b>R</b>")
    before, after = two([old], [restaurant("r", 3, **said)], identity="two", model="<i>model</i>")
    page = Page(write_changes(before, after).read_text())
    assert "r is fine." in page.below("answers")
    assert "<script>alert(1)</script>" in page.below("answers")
    assert (len(page.scripts), page.having("b"), page.having("i")) == (1, [], [])
    assert "<i>model</i>" in page.below("between")


def test_more_changes_than_fit_are_cut_to_those_that_moved_most(two):
    old = [restaurant(f"r{i:03}", 4) for i in range(50)]
    new = [restaurant(f"r{i:03}", 4, summary=f"Other {i}.", dropped_claims=i % 2) for i in range(50)]
    before, after = two(old, new, identity="two")
    text = Page(write_changes(before, after, most=20).read_text()).text
    assert "Shown are the 20 of 50 that moved most" in text


def test_the_command_takes_two_runs(two, tmp_path):
    before, _ = two([restaurant("r", 3)], [restaurant("r", 4)])
    done = jobs("report", before.folder, tmp_path / "new", "--html", tmp_path / "c.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'c.html'}\n"
    assert "1 review more" in Page((tmp_path / "c.html").read_text()).below("reviews")
