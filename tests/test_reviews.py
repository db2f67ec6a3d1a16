"""The input contract: columns, types, files and selections; what of them is an error."""

from datetime import UTC, date, datetime

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.contract import COLUMNS, REVIEWS
from pipeline.errors import BadData
from pipeline.reviews import Selection, read


def reasons(found):
    return found.rejects["reason"].to_list()


def test_all_contract_columns_come_out_with_their_types_whatever_the_dump_has(dump):
    found = dump({"text": ["good"]})
    assert {name: found.reviews.schema[name] for name in COLUMNS} == COLUMNS
    assert found.rejects.schema == pl.Schema(REVIEWS.reject_schema)
    assert found.reviews.select("rating", "created_at", "restaurant_name", "category", "area").row(0) == (None,) * 5


@pytest.mark.parametrize(
    "ids",
    [
        pl.Series([7, 8], dtype=pl.Int64),
        pl.Series([7, 8], dtype=pl.UInt8),
        pl.Series(["7", "8"]),
        pl.Series(["7", "8"], dtype=pl.Categorical),
        pl.Series(["7", "8"], dtype=pl.Enum(["8", "7"])),
        pl.Series([b"7", b"8"]),
    ],
    ids=lambda ids: str(ids.dtype),
)
def test_ids_of_any_accepted_type_read_as_the_same_strings(dump, ids):
    found = dump({"restaurant_id": ids, "review_id": ids})
    assert found.reviews.select("restaurant_id", "review_id").rows() == [("7", "7"), ("8", "8")]


def test_the_largest_integer_ids_keep_every_digit(dump):
    ids = pl.Series([2**64 - 1, 2**53 + 1], dtype=pl.UInt64)
    assert dump({"restaurant_id": ids}).reviews["restaurant_id"].to_list() == ["18446744073709551615", "9007199254740993"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (date(2024, 2, 29), datetime(2024, 2, 29)),  # noqa: DTZ001
        (datetime(2024, 2, 29, 23, 59, 1), datetime(2024, 2, 29, 23, 59, 1)),  # noqa: DTZ001
        (datetime(2024, 2, 29, 1, tzinfo=UTC), datetime(2024, 2, 29, 1)),  # noqa: DTZ001
        (pl.Series([datetime(2024, 3, 1, 8)]).dt.replace_time_zone("Asia/Seoul")[0], datetime(2024, 2, 29, 23)),  # noqa: DTZ001
    ],
    ids=["date", "datetime", "UTC", "Seoul"],
)
def test_dates_and_times_of_any_zone_become_one_clock(dump, value, expected):
    assert dump({"created_at": [value]}).reviews["created_at"].to_list() == [expected]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_dates_that_no_calendar_holds_count_as_no_date(dump, unit):
    dates = pl.Series([1_700_000_000_000_000_000, -(2**62), 0]).cast(pl.Datetime(unit))
    expected = [None if unit != "ns" else datetime(2023, 11, 14, 22, 13, 20), datetime(1970, 1, 1)]  # noqa: DTZ001
    found = dump({"created_at": dates}).reviews["created_at"].to_list()
    assert [found[0], found[2]] == expected
    assert found[1] is None or unit == "ns"


def test_ratings_that_are_no_finite_number_count_as_no_rating(dump):
    ratings = dump({"rating": [float("nan"), float("inf"), float("-inf"), None, 4.5]}).reviews["rating"].to_list()
    assert ratings == [None, None, None, None, 4.5]


@pytest.mark.parametrize("ratings", [pl.Series([4], dtype=pl.Int8), pl.Series(["4.0"]).cast(pl.Decimal(3, 1)), pl.Series([4.0])])
def test_numbers_of_any_kind_are_ratings(dump, ratings):
    assert dump({"rating": ratings}).reviews["rating"].to_list() == [4.0]


def test_columns_outside_the_contract_are_ignored_even_those_named_like_our_own(dump):
    others = {"menu": [[{"dish": "면"}]], "source_row": [5], "source_file": ["x"], "reason": ["y"], "arrival": [9], "undecodable": [True]}
    found = dump({"text": ["good"], **others})
    assert found.reviews.select("text", "source_row", "arrival").row(0) == ("good", 0, 0)
    assert "menu" not in found.reviews.columns


def test_mapped_columns_win_over_columns_of_the_contracts_name(dump):
    found = dump({"text": ["wrong"], "Review": ["right"], "Stars": [2]}, columns={"text": "Review", "rating": "Stars"})
    assert found.reviews.select("text", "rating").row(0) == ("right", 2.0)


def test_two_columns_may_be_swapped_and_one_may_serve_twice(dump):
    mapping = {"text": "area", "area": "text", "category": "text"}
    found = dump({"text": ["Mapo"], "area": ["good"]}, columns=mapping)
    assert found.reviews.select("text", "area", "category").row(0) == ("good", "Mapo", "Mapo")


def test_a_missing_required_column_is_an_error_that_names_file_columns_found_and_the_option(tmp_path, write_dump):
    path = write_dump(tmp_path / "x.parquet", {"restaurant_id": ["r"], "Review": ["good"]})
    with pytest.raises(BadData) as caught:
        read([path])
    for part in (path, "'text'", "restaurant_id, Review", "--column text="):
        assert part in str(caught.value)


def test_a_mapped_column_that_is_not_there_is_an_error_even_if_optional(dump):
    with pytest.raises(BadData, match=r"no column 'Stars' \(columns found: restaurant_id, text\)"):
        dump({"text": ["good"]}, columns={"rating": "Stars"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("text", 1),
        ("text", ["good"]),
        ("restaurant_id", 1.5),
        ("restaurant_id", True),
        ("rating", "5"),
        ("rating", True),
        ("created_at", "2024-01-01"),
        ("created_at", 17),
        ("area", {"a": 1}),
    ],
)
def test_a_column_of_the_wrong_type_is_an_error_that_says_what_was_expected(dump, name, value):
    with pytest.raises(BadData, match=rf"column '{name}' is .*, expected .* for {name}"):
        dump({name: [value]})


def test_files_with_different_types_and_optional_columns_are_one_dump(dump):
    first = {"restaurant_id": [1], "rating": [4], "created_at": [date(2024, 1, 1)]}
    second = {"restaurant_id": ["1"], "area": ["Mapo"], "created_at": [datetime(2024, 1, 2, tzinfo=UTC)]}
    found = dump(first, second, {"text": [None]})
    assert found.reviews.select("restaurant_id", "rating", "area").rows() == [("1", 4.0, None), ("1", None, "Mapo")]
    assert found.reviews["created_at"].dt.day().to_list() == [1, 2]
    assert found.reviews["arrival"].to_list() == [0, 1]
    assert len({file.path for file in found.files}) == 3


def test_hive_folders_are_columns_with_their_digits_kept(tmp_path, write_dump):
    for key in ("restaurant_id=007", "restaurant_id=1.50", "restaurant_id=a%20b", "restaurant_id=__HIVE_DEFAULT_PARTITION__"):
        write_dump(tmp_path / "created_at=2024-05-06" / "rating=4" / key / "x.parquet", {"text": ["good"]})
    found = read([str(tmp_path)])
    assert sorted(found.reviews["restaurant_id"]) == ["007", "1.50", "a b"]
    assert set(found.reviews.select("rating", "created_at").rows()) == {(4.0, datetime(2024, 5, 6))}  # noqa: DTZ001
    assert reasons(found) == ["no restaurant_id"]


def test_hive_folders_outside_the_contract_and_file_names_like_globs_do_no_harm(tmp_path, write_dump):
    path = write_dump(tmp_path / "dt=2024-01-01" / "a=b[1]*.parquet", {"restaurant_id": ["r"], "text": ["good"]})
    assert read([path]).reviews["text"].to_list() == ["good"]


def test_a_file_named_twice_is_read_once(tmp_path, write_dump):
    path = write_dump(tmp_path / "x.parquet", {"restaurant_id": ["r"], "text": ["good"]})
    found = read([path, str(tmp_path), str(tmp_path / "*.parquet")])
    assert (found.reviews.height, found.rejects.height, len(found.files)) == (1, 0, 1)


@pytest.mark.parametrize("groups", [0, 1])
def test_a_file_without_rows_or_row_groups_is_an_empty_dump(tmp_path, groups):
    schema = pa.schema({"restaurant_id": pa.string(), "text": pa.string()})
    with pq.ParquetWriter(tmp_path / "x.parquet", schema) as writer:
        for _ in range(groups):
            writer.write_table(schema.empty_table())
    found = read([str(tmp_path)])
    assert (found.reviews.height, found.rejects.height) == (0, 0)
    assert {"review_id", "language", "arrival", *COLUMNS} <= set(found.reviews.columns)


def test_one_damaged_file_among_good_ones_is_an_error_with_its_name(tmp_path, write_dump):
    good = write_dump(tmp_path / "good.parquet", {"restaurant_id": ["r"], "text": ["good"]})
    (tmp_path / "bad.parquet").write_bytes(b"")
    with pytest.raises(BadData, match=r"bad\.parquet"):
        read([good, str(tmp_path / "bad.parquet")])


def test_damaged_pages_behind_a_sound_footer_are_bad_data(tmp_path, write_dump):
    path = tmp_path / "x.parquet"
    write_dump(path, {"restaurant_id": ["r"] * 99, "text": [f"good {i}" for i in range(99)]})
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"x\.parquet: is damaged: the page at byte 4 "):
        read([str(path)])


def test_since_is_included_until_is_not_and_rows_without_date_are_outside(dump):
    days = [date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3), None]
    rows = {"created_at": days, "text": ["a", "b", "c", "d"]}
    first, third = datetime(2024, 1, 1), datetime(2024, 1, 3)  # noqa: DTZ001
    assert dump(rows, selection=Selection(since=first, until=third)).reviews["text"].to_list() == ["a", "b"]
    assert dump(rows, selection=Selection(since=third)).reviews["text"].to_list() == ["c"]
    assert dump(rows, selection=Selection(until=first)).reviews.is_empty()
    assert dump(rows).reviews.height == 4


def test_a_restaurant_filter_selects_rejects_too(dump):
    rows = {"restaurant_id": [1, 2, 1, None], "text": ["a", "b", None, "d"]}
    found = dump(rows, selection=Selection(restaurants=("1",)))
    assert (found.reviews["text"].to_list(), reasons(found)) == (["a"], ["no text"])


def test_a_limit_takes_restaurants_by_id_and_counts_no_blank_one(dump):
    rows = {"restaurant_id": ["c", "", "b", None, "a", "b"], "text": ["c1", "x", "b1", "y", None, "b2"]}
    found = dump(rows, selection=Selection(limit=2))
    assert sorted(found.reviews["text"]) == ["b1", "b2"]
    assert found.rejects["restaurant_id"].to_list() == ["a"]


def test_only_a_selection_that_leaves_nothing_out_is_whole():
    assert Selection().whole
    assert not any(one.whole for one in (Selection(("r",)), Selection(limit=1), Selection(since=datetime(2024, 1, 1))))  # noqa: DTZ001


@pytest.mark.parametrize(
    ("text", "language"),
    [("맛있어요", "ko"), ("ㅋㅋㅋ", "ko"), ("good", "en"), ("pizza가 좋아요", "ko"), ("the best 면 in town", "en"), ("👍 10/10", "en")],
)
def test_language_follows_the_script_of_most_of_the_text(dump, text, language):
    assert dump({"text": [text]}).reviews["language"].item() == language
