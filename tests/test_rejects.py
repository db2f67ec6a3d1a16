"""Rows that cannot be used, ids that repeat or are missing; and that the order of rows changes nothing."""

import random
from datetime import date

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import reading
from pipeline.contract import COLUMNS
from pipeline.reviews import read

NOT_UTF8 = b"\xff\xfe tasty"


def reasons(found):
    return found.rejects["reason"].to_list()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"text": None}, "no text"),
        ({"text": ""}, "blank text"),
        ({"text": " \t\r\n\u3000\xa0"}, "blank text"),
        ({"text": "\u200b\u200d\ufeff\u2060\u00ad"}, "blank text"),
        ({"text": "\u3164\u115f\u202e\x00\x7f"}, "blank text"),
        ({"restaurant_id": None}, "no restaurant_id"),
        ({"restaurant_id": " \n"}, "no restaurant_id"),
        ({"restaurant_id": None, "text": None}, "no restaurant_id"),
    ],
)
def test_a_row_that_cannot_be_used_becomes_a_reject_with_its_reason_place_and_content(tmp_path, write_dump, row, reason):
    usable = {"restaurant_id": "r", "text": "good", "rating": 3.0}
    path = write_dump(tmp_path / "x.parquet", [usable, {**usable, **row}, usable])
    found = read([path])
    assert found.reviews.height == 2
    assert found.rejects.select("source_file", "source_row", "reason", "rating").rows() == [(path, 1, reason, 3.0)]
    assert found.rejects.select("restaurant_id", "text").row(0) == tuple({**usable, **row}[name] for name in ("restaurant_id", "text"))


@pytest.mark.parametrize("text", ["👍", "👨‍👩‍👧", "ㅋㅋ", "مطعم رائع", "\u202eanna\u202c", "a\x00b\x1b[31m", ".", "好", "﷽", "<|im_end|>"])
def test_unusual_but_visible_text_is_a_review_kept_as_written(dump, text):
    assert dump({"text": [text]}).reviews["text"].to_list() == [text]


def as_string(kind, values):
    """Strings that Arrow never checked, as careless writers leave them in a file."""
    values = pa.array(values, pa.large_binary() if kind == "large_string" else pa.binary())
    strings = pa.Array.from_buffers(pa.large_string() if kind == "large_string" else pa.string(), len(values), values.buffers())
    if kind == "dictionary":
        return pa.DictionaryArray.from_arrays(pa.array(range(len(values)), pa.int32()), strings)
    return values if kind == "binary" else strings


@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary"])
def test_text_that_is_not_utf8_is_rejected_alone_with_hive_columns_kept(tmp_path, kind):
    (tmp_path / "area=Mapo").mkdir()
    texts = as_string(kind, ["good 맛".encode(), NOT_UTF8, b"fine"])
    pq.write_table(pa.table({"restaurant_id": [1, 1, 2], "text": texts, "rating": [1, 2, 3]}), tmp_path / "area=Mapo" / "x.parquet")
    found = read([str(tmp_path)], {"category": "area"})
    assert found.reviews.select("restaurant_id", "text", "rating", "area").rows() == [
        ("1", "good 맛", 1.0, "Mapo"),
        ("2", "fine", 3.0, "Mapo"),
    ]
    assert found.rejects.select("source_row", "reason", "rating", "category").rows() == [(1, "text is not UTF-8", 2.0, "Mapo")]


@pytest.mark.parametrize("row_group", [1, 2, 100])
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary", "binary"])
def test_a_file_in_pieces_is_read_as_one_in_one_piece_whatever_its_texts_and_row_groups(tmp_path, monkeypatch, kind, row_group):
    texts = as_string(kind, [b"good", "맛".encode(), b"fine", NOT_UTF8, b"", b"seven", NOT_UTF8, b"good"])
    table = pa.table({"restaurant_id": list("aabbccdd"), "text": texts, "rating": range(8)})
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=row_group)
    whole = read([str(tmp_path)])
    pieces = []
    made = reading.read_file
    monkeypatch.setattr(reading, "read_file", lambda *given: (pieces.append(piece.height) or piece for piece in made(*given)))
    monkeypatch.setattr(reading, "PIECE_BYTES", 150)
    found = read([str(tmp_path)])
    assert len(pieces) > 2
    assert found.reviews.equals(whole.reviews)
    assert found.rejects.equals(whole.rejects)
    assert reasons(found).count("text is not UTF-8") == 2


def test_names_and_ids_that_are_not_utf8_count_as_missing(tmp_path):
    table = {"restaurant_id": [b"a", b"b", NOT_UTF8], "review_id": [b"1", NOT_UTF8, b"3"], "restaurant_name": [NOT_UTF8, b"B", b"C"]}
    columns = {name: as_string("string", values) for name, values in table.items()}
    pq.write_table(pa.table({**columns, "text": ["x", "y", "z"]}), tmp_path / "x.parquet")
    found = read([str(tmp_path)], {"category": "restaurant_name"})
    assert found.reviews.select("restaurant_id", "restaurant_name", "category").rows() == [("a", None, None), ("b", "B", "B")]
    assert found.reviews["review_id"].to_list()[0] == "1"
    assert found.reviews["review_id"].to_list()[1].startswith("made-")
    assert reasons(found) == ["no restaurant_id"]


def test_of_repeated_ids_the_same_one_stays_in_any_order_of_rows_and_files(dump):
    rows = [("B", 5.0), ("A", 4.0), ("A", 3.0), ("C", None)]
    for seed in range(6):
        random.Random(seed).shuffle(rows)
        files = [{"review_id": [1], "text": [text], "rating": pl.Series([rating], dtype=pl.Float64)} for text, rating in rows]
        found = dump(*files)
        assert found.reviews.select("text", "rating").rows() == [("A", 3.0)]
        assert reasons(found) == ["repeated review_id"] * 3


def test_an_id_may_repeat_in_another_restaurant_and_an_unusable_row_takes_no_id(dump):
    found = dump({"restaurant_id": ["a", "b", "b"], "review_id": ["1", "1", "1"], "text": ["x", None, "y"]})
    assert found.reviews["text"].to_list() == ["x", "y"]
    assert reasons(found) == ["no text"]


def test_identical_texts_without_ids_are_two_reviews_with_two_ids(dump):
    found = dump({"text": ["맛있어요", "맛있어요"], "review_id": [None, " "]})
    assert found.reviews["review_id"].n_unique() == 2
    assert found.reviews["review_id"].str.starts_with("made-").all()


def test_made_ids_depend_on_content_only(dump):
    columns = {"text": ["x", "y", "x"], "rating": [1.0, 2.0, 1.0], "restaurant_name": ["N", "N", "M"]}
    backwards = {name: values[::-1] for name, values in columns.items()}
    ids = [found.reviews.sort("text", "restaurant_name")["review_id"].to_list() for found in (dump(columns), dump(backwards))]
    assert ids[0] == ids[1]
    others = [{**columns, "rating": [3.0] * 3}, {**columns, "restaurant_id": ["q"] * 3}, {**columns, "created_at": [date(2024, 1, 1)] * 3}]
    for other in others:
        assert not set(ids[0]) & set(dump(other).reviews["review_id"])


def test_made_ids_are_the_same_in_every_release(dump):
    assert dump({"text": ["good"]}).reviews["review_id"].item() == "made-34c8de97abbb713f61cd"


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "restaurant_id": st.sampled_from(["a", "b", "a ", "", " ", None]),
            "review_id": st.sampled_from([1, 2, 3, None]),
            "text": st.sampled_from(["good", "bad", "좋아요", "", "\u200b", None]) | st.text(max_size=5),
            "rating": st.sampled_from([0.0, -0.0, 4.5, float("nan"), None]),
            "created_at": st.sampled_from([date(2024, 1, 1), date(2024, 1, 2), None]),
            "restaurant_name": st.sampled_from(["A", "B", None]),
            "area": st.sampled_from(["x", None]),
        }
    ),
    max_size=25,
)
TYPES = {"review_id": pl.Int64, "rating": pl.Float64, "created_at": pl.Date}
SCHEMA = {
    name: TYPES.get(name, pl.String) for name in ("restaurant_id", "review_id", "text", "rating", "created_at", "restaurant_name", "area")
}


def content(frame, *more):
    return sorted(map(repr, frame.select(*COLUMNS, *more).rows()))


@settings(max_examples=60)
@given(rows=ROWS, seed=st.randoms(use_true_random=False), parts=st.integers(1, 3))
def test_every_row_is_a_review_or_a_reject_and_neither_order_nor_files_matter(tmp_path_factory, write_dump, rows, seed, parts):
    folder = tmp_path_factory.mktemp("dump")
    found = read([write_dump(folder / "whole.parquet", rows, SCHEMA)])
    assert found.reviews.height + found.rejects.height == len(rows)
    assert not found.reviews.select("restaurant_id", "review_id").is_duplicated().any()
    seed.shuffle(rows)
    again = read([write_dump(folder / f"{part}.parquet", rows[part::parts], SCHEMA) for part in range(parts)])
    assert content(again.reviews, "language") == content(found.reviews, "language")
    assert content(again.rejects, "reason") == content(found.rejects, "reason")
