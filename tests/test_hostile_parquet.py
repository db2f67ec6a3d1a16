"""Files that lie, change or carry what no review has: each ends in a result or in an error that says where, what and what to do."""

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import parquet_mutations as made
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as pe
import pytest

from pipeline import reading, thrift
from pipeline.columns import blank
from pipeline.contract import COLUMNS
from pipeline.errors import BadData, TryAgain
from pipeline.footer import DEEPEST_COLUMN, MOST_COLUMNS
from pipeline.inputs import check
from pipeline.printable import printable
from pipeline.reading import KEPT_CHARACTERS, MOST_TEXT_BYTES
from pipeline.reviews import Selection, read

ROOT = Path(__file__).parent.parent
WANTED = set(COLUMNS)
TWO = {"restaurant_id": ["a", "b"], "text": ["good", "맛있어요"]}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.parquet"


@pytest.fixture
def write(path):
    """`write(columns, **options)` writes a file as Arrow does, and returns its path."""

    def one(columns, **options):
        pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), path, **options)
        return str(path)

    return one


def refusal(path, error=BadData, **options):
    with pytest.raises(error) as caught:
        read([str(path)], **options)
    return str(caught.value)


# What honest files hold


@pytest.mark.parametrize("name", made.BASES)
def test_files_of_every_kind_of_writer_encoding_and_compression_hold_the_same_reviews(path, name):
    path.write_bytes(made.base(name))
    found = read([str(path)])
    assert found.reviews.height + found.rejects.height == made.ROWS
    if name != "other-types":
        path.write_bytes(made.base("plain"))
        assert found.reviews.equals(read([str(path)]).reviews)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize(
    "kind",
    [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.dictionary(pa.int8(), pa.string())],
    ids=str,
)
def test_texts_of_every_arrow_type_read_alike(write, kind, version):
    table = pa.table({**TWO, "text": pa.array(TWO["text"]).cast(kind)})
    assert read([write(table, data_page_version=version)]).reviews["text"].to_list() == TWO["text"]


NESTED = {
    "struct": [{"a": 1, "b": {"c": "x"}}, None],
    "list": [[1, 2], []],
    "list of structs": [[{"a": "x"}], None],
    "map": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int32())),
}


@pytest.mark.parametrize("kind", NESTED)
def test_nested_columns_are_ignored_where_nothing_is_mapped_to_them(write, kind):
    path = write({"menu": NESTED[kind], **TWO})
    assert read([path]).reviews["text"].to_list() == TWO["text"]


@pytest.mark.parametrize("name", ["text", "rating", "restaurant_id", "area"])
@pytest.mark.parametrize("kind", NESTED)
def test_a_nested_column_that_is_mapped_is_an_error_that_names_it(write, kind, name):
    found = refusal(write({"menu": NESTED[kind], **TWO}), columns={name: "menu"})
    assert "column 'menu' is " in found
    assert f"for {name}; convert it or map another" in found


def test_a_required_column_that_is_nested_is_an_error(write):
    assert "column 'text' is List(String), expected a string for text" in refusal(write({**TWO, "text": [["good"], ["bad"]]}))


def test_a_column_named_twice_is_an_error_that_names_it(write):
    table = pa.table([["a"], ["good"], ["bad"]], names=["restaurant_id", "text", "text"])
    assert "has more than one column 'text'; rename or drop the others" in refusal(write(table))


# Footers


@pytest.mark.parametrize("plaintext_footer", [False, True])
def test_an_encrypted_file_is_said_to_be_encrypted(path, plaintext_footer):
    class Keys(pe.KmsClient):
        def wrap_key(self, key, _):
            return key.hex()

        def unwrap_key(self, key, _):
            return bytes.fromhex(key)

    config = pe.EncryptionConfiguration(footer_key="f", column_keys={"c": ["text"]}, plaintext_footer=plaintext_footer)
    properties = pe.CryptoFactory(lambda _: Keys()).file_encryption_properties(pe.KmsConnectionConfig(), config)
    table = pa.table(TWO)
    with pq.ParquetWriter(path, table.schema, encryption_properties=properties) as writer:
        writer.write_table(table)
    assert refusal(path) == f"{path}: is encrypted; write it again without encryption"


def numbers_replaced(path, where, value):
    """Replaces each number of the footer that lies at a path of Thrift fields."""
    start, footer = made.footer_of(path.read_bytes())
    numbers = [one for one in made.Thrift(footer, 0).numbers if one.path == where and not one.is_length]
    assert numbers
    for one in reversed(numbers):
        footer = footer[: one.start] + made.varint(value) + footer[one.end :]
    path.write_bytes(made.with_footer(path.read_bytes()[:start], footer))


ROWS, GROUP_ROWS, VALUES, UNCOMPRESSED, COMPRESSED, PAGE, CHILDREN = (
    (3,),
    (4, 3),
    (4, 1, 3, 5),
    (4, 1, 3, 6),
    (4, 1, 3, 7),
    (4, 1, 3, 9),
    (2, 5),
)


@pytest.mark.parametrize("value", [-1, -(2**63), 2**31, 2**62, 2**63 - 1])
@pytest.mark.parametrize("where", [ROWS, GROUP_ROWS, VALUES, UNCOMPRESSED, COMPRESSED, PAGE, CHILDREN], ids=str)
def test_a_number_in_the_footer_that_cannot_be_is_refused_by_name(write, path, where, value):
    write(TWO)
    numbers_replaced(path, where, value)
    found = refusal(path)
    assert found.startswith(f"{path}: its footer promises ")
    assert found.endswith("; the file is damaged, write it again or leave it out")


def test_a_histogram_of_the_wrong_length_which_ends_arrow_is_no_matter(path):
    content = made.base("snappy")
    start, footer = made.footer_of(content)
    lengths = [one for one in made.Thrift(footer, 0).numbers if one.path == (4, 1, 3, 16, 3)]
    assert lengths, "Arrow writes no histograms any more"
    one = lengths[0]
    path.write_bytes(made.with_footer(content[:start], footer[: one.start] + made.varint(10**6) + footer[one.end :]))
    assert read([str(path)]).reviews.height == 392


def schema_of(elements):
    """A footer without rows over schema elements, each (name, children)."""
    texts = [b"\x48" + bytes([len(name)]) + name + b"\x15" + made.varint(children) + b"\x00" for name, children in elements]
    listing = b"\x19\xfc" + made.varint(len(texts), is_length=True) + b"".join(texts)
    return b"PAR1", b"\x15\x02" + listing + b"\x16\x00\x19\x0c\x00"


@pytest.mark.parametrize("depth", [DEEPEST_COLUMN + 1, 9_000])
def test_columns_nested_deeper_than_any_reader_should_follow_are_refused(path, depth):
    path.write_bytes(made.with_footer(*schema_of([(b"x", 1)] * depth + [(b"leaf", 0)])))
    assert f"more than {DEEPEST_COLUMN} deep" in refusal(path)


def test_more_columns_than_any_dump_has_are_refused(path):
    path.write_bytes(made.with_footer(*schema_of([(b"root", MOST_COLUMNS)] + [(b"x", 0)] * MOST_COLUMNS)))
    assert f"promises {MOST_COLUMNS + 1:,} columns; at most {MOST_COLUMNS:,} are read" in refusal(path)


@pytest.mark.parametrize("element", [b"\x00", b"\x1c" * 30], ids=["slow", "deep"])
def test_a_footer_made_to_be_slow_or_deep_is_given_up(path, monkeypatch, element):
    monkeypatch.setattr(thrift, "MOST_VALUES", 10_000)
    count = thrift.MOST_VALUES
    path.write_bytes(made.with_footer(b"PAR1", b"\x15\x02\x19\xfc" + made.varint(count, is_length=True) + element * count + b"\x00" * 40))
    assert "is not Parquet or is damaged, its footer is no Thrift structure" in refusal(path)


def test_a_file_whose_data_lies_in_other_files_is_refused(path, write):
    collected = []
    write(TWO, metadata_collector=collected)
    collected[0].set_file_path("part-0.parquet")
    summary = path.with_name("summary.parquet")
    collected[0].write_metadata_file(str(summary))
    assert "has its data in other files; name those instead" in refusal(summary)


# Pages


def page_replaced(path, base, column, where, value):
    """Replaces one number in the header of the first page of a column, by one that takes the same number of bytes at most."""
    content = made.base(base)
    _, footer = made.footer_of(content)
    begin = list(made._chunks(footer))[column][0]
    number = next(one for one in made.Thrift(content, begin).numbers if one.path == where)
    assert len(made.varint(value)) == number.end - number.start
    path.write_bytes(content[: number.start] + made.varint(value) + content[number.end :])


@pytest.mark.parametrize(
    ("where", "value"), [((2,), -5000), ((3,), -5000), ((3,), 8000), ((5, 1), -400)], ids=["uncompressed", "size", "too long", "values"]
)
def test_a_page_that_promises_what_its_column_cannot_hold_is_refused_with_its_place(path, where, value):
    page_replaced(path, "plain", 0, where, value)
    assert f"{path}: is damaged: the page at byte 4 promises what its column cannot hold" in refusal(path)


def test_pages_with_other_numbers_of_values_than_their_column_are_refused(path):
    page_replaced(path, "plain", 0, (5, 1), 500)
    assert "is damaged: pages promise 500 values, their column 400" in refusal(path)


def test_a_page_with_another_checksum_than_it_says_is_refused_and_a_sound_one_is_read(path, write):
    write({**TWO, "rating": [1.5, 2.5]}, write_page_checksum=True, use_dictionary=False, compression="none")
    assert read([str(path)]).reviews.height == 2
    content = path.read_bytes()
    path.write_bytes(content.replace("맛있어요".encode(), "맛없어요".encode()))
    assert "has another checksum than it says" in refusal(path)


def test_a_header_longer_than_one_read_is_read_whole(write):
    texts = ["x" * 300_000, "y" * 300_000]
    path = write({**TWO, "text": texts}, use_dictionary=False, write_statistics=True)
    assert check(path, WANTED) > 600_000
    assert read([path]).reviews["text"].to_list() == texts


# Limits


def test_a_dump_over_the_limit_of_bytes_is_refused_with_found_limit_and_what_to_do(write, path):
    held = check(write(TWO), WANTED)
    assert read([str(path)], max_input_bytes=held).reviews.height == 2
    found = refusal(path, max_input_bytes=held - 1)
    assert f"{held:,} bytes" in found
    assert f"the limit is {held - 1:,}; raise --max-input-bytes or read it in parts" in found


def test_the_limit_of_bytes_is_over_all_files_and_counts_columns_that_are_read_only(tmp_path, write_dump):
    files = [write_dump(tmp_path / f"{i}.parquet", {**TWO, "other": ["z" * 100_000] * 2}) for i in range(3)]
    one = check(files[0], WANTED)
    assert one < 1000
    assert read(files, max_input_bytes=3 * one).reviews.height == 6
    assert "the dump holds" in refusal(tmp_path, max_input_bytes=3 * one - 1)


def dictionary_bomb(path, kind, rows=20_000, length=500_000):
    """A file of some kilobytes that stands for 10 GB of text: one long value, named in nearly every row."""
    values = pa.array([b"x" * length, b"\xff" if kind == "not UTF-8" else b"y"])
    if kind != "binary":
        values = pa.Array.from_buffers(pa.string(), 2, values.buffers())
    text = pa.DictionaryArray.from_arrays(pa.array([1] + [0] * (rows - 1), pa.int32()), values)
    table = pa.table({"restaurant_id": ["r"] * rows, "text": text})
    pq.write_table(table, path, store_schema=kind == "categorical", compression="zstd")
    assert path.stat().st_size < 100_000


@pytest.mark.parametrize("kind", ["string", "binary", "categorical", "not UTF-8"])
def test_a_dictionary_that_stands_for_more_text_than_the_limit_is_refused_before_it_fills_memory(path, kind):
    dictionary_bomb(path, kind)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert re.search(r"holds 9,999,5\d\d,\d{3} bytes of text", refusal(path, max_input_bytes=1 << 30))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20


def test_looking_for_visible_text_copies_none(path):
    dictionary_bomb(path, "string")
    rows = pl.scan_parquet(path).select("text").collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not rows.select(blank(pl.col("text")))["text"].any()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20


def test_a_text_over_the_limit_is_a_reject_that_names_the_limit_and_keeps_its_beginning(dump):
    longest, longer = "a" * MOST_TEXT_BYTES, "b" * 2 + "맛" * (MOST_TEXT_BYTES // 3)
    found = dump({"text": [longest, longer, "good"], "rating": [1.0, 2.0, 3.0]})
    assert found.reviews["text"].to_list() == [longest, "good"]
    assert found.rejects.select("source_row", "reason", "text", "rating").rows() == [
        (1, "text is over 1,000,000 bytes", longer[:KEPT_CHARACTERS], 2.0)
    ]


@pytest.mark.parametrize("name", ["restaurant_id", "review_id", "restaurant_name", "category", "area"])
def test_names_and_ids_over_the_limit_are_rejects_too(dump, name):
    found = dump({name: ["x" * (MOST_TEXT_BYTES + 1), "x"]})
    assert found.reviews.height == 1
    assert found.rejects["reason"].to_list() == [f"{name} is over 1,000,000 bytes"]
    assert found.rejects[name].str.len_bytes().max() == KEPT_CHARACTERS


# Files that change while they are read


def replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


CHANGES = {
    "removed": Path.unlink,
    "replaced": replaced,
    "truncated": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: os.truncate(path, 0),
    "appended": lambda path: path.open("ab").write(b"more"),
    "overwritten": lambda path: path.write_bytes(b"\x00" * path.stat().st_size),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("moment", ["check", "read_file", "describe"])
def test_a_file_that_changes_while_it_is_read_is_to_be_tried_again(write, path, monkeypatch, moment, change):
    write({"restaurant_id": ["r"] * 5000, "text": [f"text {i}" for i in range(5000)]})
    station = getattr(reading, moment)

    def changed(*arguments):
        os.utime(path, (1, 1))
        CHANGES[change](path)
        return station(*arguments)

    monkeypatch.setattr(reading, moment, changed)
    with pytest.raises(TryAgain, match=r"x\.parquet: changed while it was read; wait until it is written and run again") as caught:
        read([str(path)])
    assert caught.value.exit_code == 75


def test_a_file_that_goes_between_finding_and_reading_is_to_be_tried_again(write, path, monkeypatch):
    write(TWO)
    found = reading.find
    monkeypatch.setattr(reading, "find", lambda names: (found(names), path.unlink())[0])
    assert "changed while it was read" in refusal(path, TryAgain)


def test_a_damaged_file_that_does_not_change_is_bad_data_still(path):
    path.write_bytes(b"PAR1")
    assert "is not Parquet" in refusal(path)


# What is shown of a file's own words


WILD = "\x1b]0;owned\x07\x1b[2J\r\n\x00\u202e\x9b"


@pytest.mark.parametrize("text", ["plain", "맛있어요", "a'b"])
def test_ordinary_names_are_shown_as_they_are(text):
    assert printable(text) == text


def test_what_a_terminal_would_act_on_is_shown_as_escapes_and_long_names_are_cut():
    assert printable(WILD) == r"\x1b]0;owned\x07\x1b[2J\r\n\x00\u202e\x9b"
    assert [len(printable("x" * length)) for length in (200, 201, 10_000)] == [200] * 3


def is_tame(text):
    return text.isprintable() and len(text) < 8_000


def test_column_names_in_errors_are_escaped(dump):
    errors = []
    for columns, mapping in [
        ({WILD: ["x"]}, {"rating": "Stars"}),
        ({WILD: ["x"]}, {"rating": WILD}),
        ({f"{WILD}{i}" * 10: ["x"] for i in range(500)}, {"rating": WILD}),
        ({"text": [{WILD: 1}]}, {}),
    ]:
        with pytest.raises(BadData) as caught:
            dump(columns, columns=mapping)
        errors.append(str(caught.value))
    assert all(map(is_tame, errors))
    assert all(r"\x1b]0;owned" in one for one in errors)


def test_repeated_column_names_file_names_and_restaurant_ids_in_errors_are_escaped(tmp_path, write_dump):
    path = tmp_path / f"{WILD[:-3].replace(chr(0), '')}.parquet"
    pq.write_table(pa.table([["a"], ["b"]], names=[WILD, WILD]), path)
    assert is_tame(refusal(path))
    path.write_bytes(b"no")
    assert is_tame(refusal(path))
    sound = write_dump(tmp_path / "sound.parquet", TWO)
    assert is_tame(refusal(sound, selection=Selection(restaurants=(WILD,))))


def test_panics_of_the_reader_keep_off_the_terminal(path, capfd):
    path.write_bytes(made.mutated("delta-v2/page_bytes/14112"))
    assert f"{path}: cannot be read (Polars panics)" in refusal(path)
    assert capfd.readouterr() == ("", "")


def test_a_command_over_its_limit_ends_with_one_line_and_the_exit_code_for_data(write, tmp_path):
    arguments = ["analyze", write(TWO), "--max-input-bytes", "10", "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-m", "jobs", *arguments], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120)
    assert done.returncode == 65
    assert done.stderr.splitlines()[-1].startswith("error: the dump holds ")
    assert "Traceback" not in done.stderr
