"""The input contract of search queries: what can be asked about, what becomes a reject and why."""

import polars as pl
import pytest

from pipeline.errors import BadData, NoInput
from pipeline.queries import MOST_CHARACTERS, QUERIES, read_queries
from pipeline.reading import MOST_TEXT_BYTES


@pytest.fixture
def write(tmp_path, write_dump):
    return lambda rows, name="queries.parquet", schema=None: write_dump(tmp_path / name, rows, schema)


def row(name, text, language=None):
    return {"query_id": name, "text": text, "language": language}


def reasons(found):
    return dict(found.rejects.select("query_id", "reason").rows())


def test_every_row_is_a_query_or_a_reject_with_its_reason(write):
    rows = [
        row("good", "ramen"),
        row(None, "no id"),
        row("  ", "blank id"),
        row("none", None),
        row("blank", " \u200b"),
        row("long", "x" * (MOST_CHARACTERS + 1)),
        row("huge", "x" * (MOST_TEXT_BYTES + 1)),
        row("other", "ラーメン", "ja"),
    ]
    found = read_queries([write(rows)])
    assert found.rows["query_id"].to_list() == ["good"]
    assert found.rows.height + found.rejects.height == len(rows)
    assert found.rejects.filter(pl.col("query_id").is_null())["reason"].to_list() == ["no query_id"] * 2
    assert reasons(found) == {
        None: "no query_id",
        "none": "no text",
        "blank": "blank text",
        "long": "text is over 200 characters",
        "huge": "text is over 1,000,000 bytes",
        "other": "language is none of en, ko",
    }
    assert found.rejects.schema == pl.Schema(QUERIES.reject_schema)


def test_the_language_is_the_given_one_else_by_script(write):
    rows = [row("a", "ramen"), row("b", "김밥"), row("c", "ramen", "ko"), row("d", "김밥", "EN-us"), row("e", "김밥", " ")]
    found = read_queries([write(rows)])
    assert dict(found.rows.select("query_id", "language").rows()) == {"a": "en", "b": "ko", "c": "ko", "d": "en", "e": "ko"}


def test_of_a_repeated_id_the_same_row_stays_whatever_the_order(write):
    rows = [row("a", "tacos"), row("a", "burgers"), row("b", "pho")]
    for name, some in (("one.parquet", rows), ("two.parquet", rows[::-1])):
        found = read_queries([write(some, name)])
        assert found.rows.select("query_id", "text").rows() == [("a", "burgers"), ("b", "pho")]
        assert reasons(found) == {"a": "repeated query_id"}


def test_a_text_that_is_not_utf8_is_a_reject(write):
    found = read_queries([write({"query_id": ["a", "b"], "text": [b"pho", b"\xff\xfe"]})])
    assert (found.rows["text"].to_list(), reasons(found)) == (["pho"], {"b": "text is not UTF-8"})


def test_a_limit_takes_the_first_by_id(write):
    found = read_queries([write([row("c", "x"), row("a", None), row("b", "pho")])], limit=2)
    assert (found.rows["query_id"].to_list(), found.rejects["query_id"].to_list()) == (["b"], ["a"])


def test_numbers_serve_as_ids_and_columns_may_have_other_names(write):
    found = read_queries([write({"n": [7], "q": ["pho"]})], {"query_id": "n", "text": "q"})
    assert found.rows.select("query_id", "text", "language").rows() == [("7", "pho", "en")]


def test_a_missing_column_is_an_error_that_names_those_found(write):
    with pytest.raises(BadData, match=r"has no column 'query_id' \(columns found: text\)"):
        read_queries([write({"text": ["pho"]})])


def test_files_are_held_against_their_promises_as_dumps_are(write, tmp_path):
    (tmp_path / "no.parquet").write_text("no parquet")
    with pytest.raises(BadData, match="is not Parquet"):
        read_queries([str(tmp_path / "no.parquet")])
    with pytest.raises(BadData, match="the limit is 10"):
        read_queries([write([row("a", "pho")])], max_input_bytes=10)
    with pytest.raises(NoInput):
        read_queries(["nowhere.parquet"])
