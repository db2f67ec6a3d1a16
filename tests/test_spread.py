"""Rows that become columns a batch at a time, columns of lists, and tables that are spread over ranges of restaurants."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import spread
from pipeline.errors import TryAgain
from pipeline.schemas import RESTAURANTS, REVIEWS, frame_of
from pipeline.spread import Ranges, Spread, ranges_for, scratch_in

ROWS = [{"restaurant_id": "a", "review_id": str(i), "score": i / 2, "flags": ["x"] * (i % 3)} for i in range(10)]
NAMES = st.one_of(st.none(), st.text(alphabet="ab가나\U0001f35c", max_size=3))


@pytest.mark.parametrize("together", [1, 3, 10, 100])
def test_rows_are_all_there_in_their_order_whatever_the_size_of_a_batch(monkeypatch, together):
    monkeypatch.setattr(spread, "ROWS_TOGETHER", together)
    made = Spread("reviews", REVIEWS)
    for start in range(0, 10, 4):
        made.add(ROWS[start : start + 4])
    assert made.part(0).equals(frame_of(ROWS, REVIEWS))
    assert made.scan().collect().schema == pl.Schema(REVIEWS)


def test_no_rows_are_an_empty_table_of_that_schema(tmp_path):
    for ranges in (Ranges(), Ranges(("b",), tmp_path)):
        made = Spread("reviews", REVIEWS, ranges)
        assert all(part.equals(frame_of([], REVIEWS)) for part in made.parts())
        assert made.scan().collect().equals(frame_of([], REVIEWS))
    assert frame_of([], RESTAURANTS).schema == pl.Schema(RESTAURANTS)


@given(st.lists(NAMES, max_size=30), st.lists(NAMES.filter(bool), unique=True, max_size=4), st.integers(1, 9), st.integers(0, 2))
def test_every_row_is_in_the_range_of_its_name_and_in_no_other(tmp_path_factory, names, cuts, together, held):
    ranges = Ranges(tuple(sorted(cuts)), tmp_path_factory.mktemp("rows"))
    rows = [{"restaurant_id": name, "review_id": str(i), "flags": ["x"] * (i % 3)} for i, name in enumerate(names)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spread, "ROWS_TOGETHER", together)
        patch.setattr(spread, "HELD_BYTES", held * 100)
        made = Spread("reviews", REVIEWS, ranges)
        for start in range(0, len(rows), 3):
            made.add(rows[start : start + 3])
        whole = frame_of(rows, REVIEWS)
        parts = list(made.parts())
    assert len(parts) == len(ranges)
    for number, part in enumerate(parts):
        assert part.equals(whole.filter(ranges.of(number)))
    assert sorted(row for part in parts for row in part["review_id"]) == sorted(whole["review_id"])
    assert made.scan().collect().sort("review_id").equals(whole.sort("review_id"))


def test_parts_are_taken_while_rows_still_come(tmp_path):
    made = Spread("reviews", REVIEWS, Ranges(("b",), tmp_path))
    made.add(ROWS[:4])
    assert made.part(0).height == 4
    made.add([*ROWS[4:], {"restaurant_id": "c"}])
    assert (made.part(0).height, made.part(1).height, made.scan().collect().height) == (10, 1, 11)


def test_ranges_hold_about_as_many_rows_each_and_a_restaurant_is_in_one(tmp_path):
    names = pl.Series("restaurant_id", [f"r{i % 100:02}" for i in range(1000)] + ["large"] * 500 + [None] * 3)
    ranges = ranges_for([names], 10_000, tmp_path, most=1_000)
    assert list(ranges.cuts) == sorted(set(ranges.cuts))
    sizes = [names.to_frame().filter(ranges.of(number)).height for number in range(len(ranges))]
    assert sum(sizes) == len(names)
    assert sorted(sizes)[-2] <= 2 * len(names) / 10
    assert max(sizes) <= 500 + 2 * len(names) / 10


@given(st.lists(NAMES, min_size=1, max_size=40), st.integers(1, 7), st.integers(2, 9))
def test_ranges_are_the_same_whatever_the_pieces_in_which_names_come(names, size, most):
    def cuts(step):
        pieces = [pl.Series("restaurant_id", names[start : start + step], dtype=pl.String) for start in range(0, len(names), step)]
        return ranges_for(pieces, len(names), Path(), most=most).cuts

    assert cuts(size) == cuts(len(names))


def test_a_small_dump_is_one_range_its_names_are_not_read_and_other_files_go_to_the_folder_given(tmp_path):
    def names():
        raise AssertionError("they are read for nothing")
        yield

    assert ranges_for(names(), 1_000, tmp_path) == Ranges((), tmp_path)


def test_what_was_set_aside_is_gone_with_the_run_and_what_a_dead_one_left_with_the_next(tmp_path):
    (tmp_path / ".rows-of-this-run").mkdir()
    (tmp_path / ".rows-of-this-run" / "left.arrow").touch()
    with scratch_in(tmp_path) as folder:
        assert list(folder.iterdir()) == []
        made = Spread("reviews", REVIEWS, Ranges(("b",), folder))
        made.add(ROWS)
        assert made.part(0).height == 10
        assert list(folder.iterdir())
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_try_again(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    made = Spread("reviews", REVIEWS, Ranges(("b",), tmp_path))
    made.add(ROWS)
    monkeypatch.setattr(pl.DataFrame, "write_ipc", full)
    with pytest.raises(TryAgain, match="No space left"):
        made.part(0)


def test_lists_of_texts_and_of_structs_come_back_as_they_were_and_null_stays_null():
    strengths = [{"aspect": "taste", "claim": "맛", "quote": "q", "review_ids": ["1", "2"], "support": 2}]
    rows = [{"restaurant_id": "a", "strengths": strengths, "peers": []}, {"restaurant_id": "b", "strengths": []}, {"restaurant_id": "c"}]
    found = frame_of(rows, RESTAURANTS)
    assert found["strengths"].to_list() == [strengths, [], None]
    assert found["peers"].to_list() == [[], None, None]
    assert found.schema == pl.Schema(RESTAURANTS)


def test_a_value_of_another_type_is_refused():
    with pytest.raises((TypeError, pl.exceptions.PolarsError)):
        frame_of([{"restaurant_id": 7}], REVIEWS)
    with pytest.raises(Exception, match="int"):
        frame_of([{"flags": [7]}], REVIEWS)
