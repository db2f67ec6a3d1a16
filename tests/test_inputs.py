"""Which files are found behind names, and which are refused before anything in them is read."""

import hashlib
import re
import struct

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import BadConfiguration, BadData, NoInput
from pipeline.inputs import check, describe, find, is_remote
from pipeline.uris import without_secrets

ROW = {"restaurant_id": ["r"], "text": ["good"]}


@pytest.fixture
def folder(tmp_path, write_dump):
    for name in ("b.parquet", "a.parquet", "deep/er/c.parquet"):
        write_dump(tmp_path / name, ROW)
    (tmp_path / "notes.txt").write_text("no dump")
    return tmp_path


def names(folder, found):
    return [path.removeprefix(f"{folder}/") for path in found]


def test_a_file_is_found_under_its_own_name(folder):
    assert find([str(folder / "b.parquet")]) == [str(folder / "b.parquet")]


def test_files_keep_the_order_they_were_named_in(folder):
    assert names(folder, find([str(folder / "b.parquet"), str(folder / "a.parquet")])) == ["b.parquet", "a.parquet"]


def test_a_directory_is_searched_below_for_parquet_and_sorted(folder):
    assert names(folder, find([str(folder)])) == ["a.parquet", "b.parquet", "deep/er/c.parquet"]


@pytest.mark.parametrize(("pattern", "expected"), [("*.parquet", ["a.parquet", "b.parquet"]), ("**/c.*", ["deep/er/c.parquet"])])
def test_a_glob_is_expanded_and_sorted(folder, pattern, expected):
    assert names(folder, find([str(folder / pattern)])) == expected


def test_a_glob_is_expanded_below_the_current_directory(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert find(["[ab].parquet"]) == ["a.parquet", "b.parquet"]


def test_a_glob_over_hive_folders_takes_the_files_in_them(tmp_path, write_dump):
    for area in ("Jongno", "Mapo"):
        write_dump(tmp_path / f"area={area}" / "x.parquet", ROW)
    assert names(tmp_path, find([str(tmp_path / "area=*")])) == ["area=Jongno/x.parquet", "area=Mapo/x.parquet"]


def test_a_file_whose_name_looks_like_a_glob_is_found_by_that_name(tmp_path, write_dump):
    path = write_dump(tmp_path / "reviews[1].parquet", ROW)
    assert find([path]) == [path]


def test_no_file_counts_twice_under_whatever_names(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "link.parquet").symlink_to(folder / "a.parquet")
    again = ["a.parquet", "./a.parquet", "deep/../a.parquet", str(folder / "a.parquet"), "a.*", "link.parquet"]
    assert find(again) == ["a.parquet"]


@pytest.mark.parametrize("scratch", ["_temporary/0/x.parquet", ".staging/x.parquet", "_part.parquet", ".x.parquet"])
def test_scratch_places_of_other_tools_are_left_out(folder, write_dump, scratch):
    write_dump(folder / scratch, ROW)
    assert len(find([str(folder)])) == 3


@pytest.mark.parametrize("name", ["absent.parquet", "absent/", "absent-*.parquet", "empty"])
def test_a_name_with_nothing_behind_it_is_no_input(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoInput, match=re.escape(name.rstrip("/"))) as caught:
        find([str(tmp_path / name)])
    assert caught.value.exit_code == 66


def test_no_name_at_all_is_no_empty_dump():
    with pytest.raises(NoInput, match="no input is named"):
        find([])


@pytest.mark.parametrize(
    "name",
    [
        "s3://me:hush@bucket/x",
        "s3://me:hu/sh@bucket/x",
        "s3://me:hush/x",
        "https://host/x.parquet?sig=hush",
        "az://c/x.parquet?sv=1&sig=hush",
        "S3://hush@b/x",
    ],
)
def test_credentials_in_a_uri_are_refused_and_not_repeated(name):
    with pytest.raises(BadConfiguration) as caught:
        find([name])
    assert "hush" not in str(caught.value)
    assert "sh@" not in str(caught.value)


@pytest.mark.parametrize("name", ["abfss://c@account.dfs.core.windows.net/x.parquet", "hf://datasets/a/b@main/x.parquet"])
def test_names_that_only_look_like_credentials_are_not(name):
    assert without_secrets(name) == name


def test_uris_that_cannot_be_listed_pass_unchanged_and_unchecked():
    uri = "hf://datasets/somebody/reviews/*.parquet"
    assert find([uri, uri]) == [uri]
    assert is_remote(uri)
    assert not is_remote("/data/s3/reviews.parquet")
    assert check(uri, {"text"}) == 0
    assert describe(uri).size is None


def test_description_holds_size_and_content_digest(folder):
    path = folder / "a.parquet"
    content = path.read_bytes()
    described = describe(str(path))
    assert (described.size, described.digest) == (len(content), hashlib.blake2b(content, digest_size=16).hexdigest())


def refused(path):
    with pytest.raises(BadData, match=re.escape(str(path))) as caught:
        check(str(path), {"restaurant_id", "text"})
    assert caught.value.exit_code == 65
    return str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"PAR1", b"PAR1PAR1", b"restaurant_id,text\nr,good\n", b"PAR1" + b"\xff" * 20 + b"PAR1", b"PAR1\x00\x00\x00\x00PAR1"]
)
def test_what_is_not_parquet_is_bad_data(tmp_path, content):
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    assert "is not Parquet or is damaged" in refused(path)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_file_cut_off_is_bad_data(folder, kept):
    path = folder / "a.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    refused(path)


def varint(number):
    """Thrift's compact form of a signed 64-bit number, as footers hold it."""
    zigzag = (number << 1) ^ (number >> 63)
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


def lie(path, truth, claim, times=-1):
    """Replaces one number in a file's footer by another."""
    content = path.read_bytes()
    (size,) = struct.unpack("<I", content[-8:-4])
    footer = content[-8 - size : -8]
    forged = footer.replace(varint(truth), varint(claim), times)
    assert forged != footer
    path.write_bytes(content[: -8 - size] + forged + struct.pack("<I", len(forged)) + b"PAR1")


@pytest.fixture
def honest(tmp_path):
    path = tmp_path / "rows.parquet"
    table = pa.table({"restaurant_id": ["r"] * 12_345, "text": [f"review {i}" for i in range(12_345)]})
    pq.write_table(table, path, store_schema=False)
    check(str(path), {"restaurant_id", "text"})
    return path


def test_a_footer_that_promises_more_rows_than_could_fit_is_refused(honest):
    lie(honest, 12_345, 10**12)
    assert pq.read_metadata(honest).num_rows == 10**12
    assert "1,000,000,000,000 rows in a file of" in refused(honest)


def test_a_footer_that_contradicts_its_row_groups_is_refused(honest):
    lie(honest, 12_345, 99_999, times=1)
    assert "promises 99,999 rows, its row groups hold 12,345" in refused(honest)


def test_a_footer_with_negative_rows_is_refused(honest):
    lie(honest, 12_345, -7)
    refused(honest)


def test_a_footer_that_promises_more_data_than_the_file_has_is_refused(honest):
    lie(honest, pq.read_metadata(honest).row_group(0).column(1).total_compressed_size, 10**11)
    assert "promises 100,000,000,000 bytes of data at byte" in refused(honest)


def test_a_footer_that_promises_to_fill_all_memory_is_refused(honest):
    lie(honest, pq.read_metadata(honest).row_group(0).total_byte_size, 10**14)
    assert "promises 100,000,000,000,000 bytes out of " in refused(honest)


def test_a_constant_column_that_compresses_ten_thousandfold_is_accepted(tmp_path):
    pl.DataFrame({"restaurant_id": ["r"] * 500_000, "text": ["x" * 100] * 500_000}).write_parquet(tmp_path / "x.parquet")
    check(str(tmp_path / "x.parquet"), {"restaurant_id", "text"})
