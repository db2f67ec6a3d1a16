"""Rows that become columns a batch at a time, and columns of lists."""

import polars as pl
import pytest

from pipeline import batches
from pipeline.batches import Batches
from pipeline.tables import RESTAURANTS, REVIEWS, frame_of

ROWS = [{"restaurant_id": "a", "review_id": str(i), "score": i / 2, "flags": ["x"] * (i % 3)} for i in range(10)]


@pytest.mark.parametrize("together", [1, 3, 10, 100])
def test_rows_are_all_there_in_their_order_whatever_the_size_of_a_batch(monkeypatch, together):
    monkeypatch.setattr(batches, "TOGETHER", together)
    made = Batches(REVIEWS)
    for start in range(0, 10, 4):
        made.add(ROWS[start : start + 4])
    assert made.frame().equals(frame_of(ROWS, REVIEWS))
    assert made.frame().schema == pl.Schema(REVIEWS)


def test_no_rows_are_an_empty_table_of_that_schema():
    assert Batches(REVIEWS).frame().equals(frame_of([], REVIEWS))
    assert frame_of([], RESTAURANTS).schema == pl.Schema(RESTAURANTS)


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
