"""A part that is not what was written costs only its own answers; one that another run has merged or removed costs none."""

import errno
import hashlib
import io
import random
from pathlib import Path

import polars as pl
import pytest
from stored import IDENTITY, answer, fill, found, parts_in, served

from pipeline import parts, upkeep
from pipeline.errors import TryAgain
from pipeline.store import Store

BEFORE, AFTER = range(10), range(10, 20)


@pytest.fixture
def two_parts(tmp_path):
    """A store with two parts; the first is the one to damage."""
    fill(tmp_path, BEFORE)
    fill(tmp_path, AFTER)
    return tmp_path


def named(content, height=10, version=1, sequence=1):
    return f"v{version}-{sequence:010}-{height}-{hashlib.blake2b(content, digest_size=16).hexdigest()}.parquet"


def other_columns():
    buffer = io.BytesIO()
    pl.DataFrame({"high": [1], "low": [2]}, schema={"high": pl.UInt64, "low": pl.UInt64}).write_parquet(buffer)
    return buffer.getvalue()


def flipped(content, place):
    changed = bytearray(content)
    changed[int(place * (len(content) - 1))] ^= 0x10
    return bytes(changed)


DAMAGES = {
    "cut in half": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "random bytes": lambda content: random.Random(1).randbytes(len(content)),
    "another part's content": lambda content: other_columns(),
    **{f"a bit flipped at {place}": lambda content, place=place: flipped(content, place) for place in (0, 0.1, 0.35, 0.5, 0.75, 0.98, 1)},
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_part_is_named_set_aside_and_costs_only_its_own_answers(two_parts, damage):
    path = parts_in(two_parts)[0]
    path.write_bytes(damage(path.read_bytes()))
    warnings = []
    assert served(two_parts, range(20), warn=warnings.append) == {number: answer(number) for number in AFTER}
    assert len(warnings) == 1
    assert str(path) in warnings[0]
    assert (two_parts / "answers" / parts.SET_ASIDE / path.name).exists()
    warnings.clear()
    served(two_parts, range(20), warn=warnings.append)
    assert warnings == []


def test_a_file_of_other_columns_under_a_name_with_the_right_digest_is_set_aside(two_parts):
    content = other_columns()
    path = two_parts / "answers" / named(content)
    path.write_bytes(content)
    warnings = []
    assert len(served(two_parts, range(20), warn=warnings.append)) == 20
    assert len(warnings) == 1
    assert not path.exists()


def test_parts_of_another_version_are_left_alone_and_not_served(two_parts):
    path = parts_in(two_parts)[0]
    content = path.read_bytes()
    moved = path.with_name(named(content, version=2))
    path.rename(moved)
    warnings = []
    assert set(served(two_parts, range(20), warn=warnings.append)) == set(AFTER)
    upkeep.prune(two_parts, max_bytes=0)
    assert moved.read_bytes() == content
    assert warnings == []


def test_what_lies_about_under_other_names_is_left_alone(two_parts):
    stranger = two_parts / "answers" / "notes of a person.parquet"
    stranger.write_bytes(b"x")
    assert len(served(two_parts, range(20))) == 20
    assert stranger.exists()


def test_a_name_with_an_absurd_place_in_the_order_hides_no_later_part(two_parts):
    content = b"nothing"
    (two_parts / "answers" / named(content, sequence=9_999_999_999)).write_bytes(content)
    fill(two_parts, [30])
    assert served(two_parts, [30]) == {30: answer(30)}


@pytest.mark.parametrize("damage", ["cut in half", "a bit flipped at 0.5"])
def test_a_part_that_is_damaged_after_the_store_was_opened_is_set_aside_then(two_parts, damage):
    warnings = []
    with Store(two_parts, IDENTITY, warnings.append) as store:
        path = parts_in(two_parts)[0]
        path.write_bytes(DAMAGES[damage](path.read_bytes()))
        assert set(found(store, range(20))) == set(AFTER)
    assert len(warnings) == 1


def test_a_damaged_part_that_cannot_be_set_aside_is_passed_over(two_parts, monkeypatch):
    path = parts_in(two_parts)[0]
    path.write_bytes(b"")
    monkeypatch.setattr(parts.Part, "set_aside", lambda part: None)  # as in a store that cannot be written
    with Store(two_parts, IDENTITY) as store:
        assert set(found(store, range(20))) == set(AFTER)


def test_a_part_that_cannot_be_read_stays_where_it_is(two_parts, monkeypatch):
    first = parts_in(two_parts)[0]
    read = Path.read_bytes

    def unreadable(path):
        if path == first:
            raise PermissionError(13, "Permission denied")
        return read(path)

    said = []
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", unreadable)
        assert set(served(two_parts, [*BEFORE, *AFTER], warn=said.append)) == set(AFTER)
    assert ["cannot be used and stays where it is" in one for one in said] == [True]
    assert set(served(two_parts, [*BEFORE, *AFTER])) == {*BEFORE, *AFTER}


def test_the_answers_of_a_damaged_part_can_be_added_again(two_parts):
    path = parts_in(two_parts)[0]
    path.write_bytes(b"")
    fill(two_parts, BEFORE)
    assert served(two_parts, range(20)) == {number: answer(number) for number in range(20)}


def test_parts_merged_by_another_run_after_the_store_was_opened_are_found_where_they_are_now(two_parts):
    with Store(two_parts, IDENTITY) as store:
        answers = two_parts / "answers"
        parts.merge(answers, parts.listed(answers))
        assert len(parts_in(two_parts)) == 1
        assert found(store, range(20)) == {number: answer(number) for number in range(20)}


def test_a_part_that_another_run_prunes_costs_only_its_own_answers(two_parts):
    with Store(two_parts, IDENTITY) as store:
        parts_in(two_parts)[0].unlink()
        assert set(found(store, range(20))) == set(AFTER)


def test_a_part_that_goes_while_the_store_is_opened_is_no_error(two_parts, monkeypatch):
    listed = parts.listed
    stale = listed(two_parts / "answers")
    parts.merge(two_parts / "answers", stale)
    listings = iter([stale] * 3)
    monkeypatch.setattr(parts, "listed", lambda folder: next(listings, None) or listed(folder))
    assert served(two_parts, range(20)) == {number: answer(number) for number in range(20)}
    assert next(listings, None) is None


def test_too_many_open_files_are_no_damage(two_parts, monkeypatch):
    listed = parts.listed(two_parts / "answers")

    def refuse(_):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(TryAgain, match="too many files are open"):
        listed[0].rows("high")
