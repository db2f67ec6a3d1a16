"""Merging, pruning and forgetting: what is kept is kept whole, what goes is gone, and a process that dies in between costs nothing."""

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from stored import IDENTITY, answer, fill, found, parts_in, request, served

from pipeline import packing, parts, store, upkeep
from pipeline.errors import BadConfiguration, NoInput, TryAgain
from pipeline.part_cache import PartCache
from pipeline.store import Store


def set_clock(patch, moment):
    """What the store takes for now."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return moment

    patch.setattr(packing, "datetime", Clock)


def fill_at(tmp_path, days, numbers, **options):
    with pytest.MonkeyPatch.context() as patch:
        set_clock(patch, datetime.now(UTC) + timedelta(days))
        fill(tmp_path, numbers, **options)


def merge_all(folder):
    return parts.merge(folder / "answers", parts.listed(folder / "answers"))


def test_merging_keeps_every_answer_and_of_equal_questions_the_latest(tmp_path):
    fill(tmp_path, range(10), text="old")
    fill(tmp_path, range(5, 15), text="new", fresh=True)
    merge_all(tmp_path)
    assert len(parts_in(tmp_path)) == 1
    assert served(tmp_path, range(15)) == {n: answer(n, "old" if n < 5 else "new") for n in range(15)}


def test_many_small_parts_are_merged_when_a_store_is_opened(tmp_path):
    for number in range(upkeep.MANY_PARTS):
        fill(tmp_path, [number])
    assert len(served(tmp_path, range(upkeep.MANY_PARTS))) == upkeep.MANY_PARTS
    assert len(parts_in(tmp_path)) == 1


def test_a_long_run_merges_its_own_small_parts(tmp_path):
    with Store(tmp_path, IDENTITY) as one:
        for number in range(upkeep.MANY_PARTS + 3):
            one.add(request(number), answer(number))
            one.flush()
        assert len(parts_in(tmp_path)) == 4
        assert len(found(one, range(upkeep.MANY_PARTS + 3))) == upkeep.MANY_PARTS + 3


def test_a_newer_answer_in_a_full_part_wins_over_an_older_one_whatever_is_merged(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "FULL", 4)
    monkeypatch.setattr(upkeep, "MANY_PARTS", 2)
    fill(tmp_path, [1], text="old")
    fill(tmp_path, range(5), text="new", fresh=True)
    fill(tmp_path, [7])
    fill(tmp_path, [8])
    assert served(tmp_path, [1, 7, 8]) == {1: answer(1, "new"), 7: answer(7), 8: answer(8)}
    assert len(parts_in(tmp_path)) == 3


def test_parts_as_large_as_they_get_are_cut_and_not_merged_again(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "FULL", 8)
    for first in range(0, 20, 5):
        fill(tmp_path, range(first, first + 5))
    new, gone = merge_all(tmp_path)
    assert ([part.height for part in new], gone) == ([8, 8, 4], 0)
    assert [part.full for part in new] == [True, True, False]
    assert len(served(tmp_path, range(20))) == 20


@pytest.mark.parametrize("removed", [0, 1, 2])
def test_a_process_that_dies_while_it_merges_loses_and_doubles_nothing(tmp_path, monkeypatch, removed):
    fill(tmp_path, range(10), text="old")
    fill(tmp_path, range(5, 15), text="new", fresh=True)
    fill(tmp_path, range(15, 20), text="new")
    remove, calls = parts.Part.remove, iter(range(9))

    def dies(part):
        if next(calls) == removed:
            raise KeyboardInterrupt
        remove(part)

    monkeypatch.setattr(parts.Part, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        merge_all(tmp_path)
    monkeypatch.setattr(parts.Part, "remove", remove)
    expected = {n: answer(n, "old" if n < 5 else "new") for n in range(20)}
    assert len(parts_in(tmp_path)) == 4 - removed
    assert served(tmp_path, range(20)) == expected
    merge_all(tmp_path)
    assert served(tmp_path, range(20)) == expected
    assert upkeep.describe(tmp_path)["answers"] == 20


def test_a_reader_finds_everything_while_parts_are_merged(tmp_path):
    for first in range(0, 60, 5):
        fill(tmp_path, range(first, first + 5))
    with Store(tmp_path, IDENTITY) as reader:
        folder = tmp_path / "answers"

        def merge():
            while len(listed := parts.listed(folder)) > 1:
                parts.merge(folder, listed[:2])

        thread = threading.Thread(target=merge)
        thread.start()
        while True:
            last = not thread.is_alive()
            assert len(found(reader, range(60))) == 60
            reader._cache = PartCache()
            if last:
                break
    assert len(parts_in(tmp_path)) == 1


def test_pruning_by_age_removes_what_is_older_and_nothing_else(tmp_path):
    fill_at(tmp_path, -10, range(5))
    fill_at(tmp_path, -1, range(5, 9))
    merge_all(tmp_path)
    removed = upkeep.prune(tmp_path, older_than=timedelta(days=5))
    assert removed.answers == 5
    assert removed.bytes_before > removed.bytes_after > 0
    assert set(served(tmp_path, range(9))) == set(range(5, 9))
    assert upkeep.prune(tmp_path, older_than=timedelta(days=5)).answers == 0


def test_answers_from_the_future_are_not_pruned_by_age(tmp_path):
    fill_at(tmp_path, 400, range(5))  # by a clock that was wrong
    assert upkeep.prune(tmp_path, older_than=timedelta(0)).answers == 0
    assert len(served(tmp_path, range(5))) == 5


def test_pruning_by_size_removes_the_parts_written_first(tmp_path):
    fill_at(tmp_path, 5, range(5))  # its clock was ahead: written first all the same
    fill(tmp_path, range(5, 10))
    removed = upkeep.prune(tmp_path, max_bytes=parts_in(tmp_path)[1].stat().st_size)
    assert removed.answers == 5
    assert set(served(tmp_path, range(10))) == set(range(5, 10))
    assert upkeep.prune(tmp_path, max_bytes=0).bytes_after == 0
    assert served(tmp_path, range(10)) == {}


def test_forgetting_a_restaurant_removes_its_answers_and_its_suspects_and_no_others(tmp_path):
    fill(tmp_path, range(5), restaurant="r1")
    fill(tmp_path, range(5, 10), restaurant="r2")
    with Store(tmp_path, IDENTITY) as one:
        one.suspect([request(20, "r1"), request(21, "r2"), request(22, "")])  # the last one asked by a calibration
    assert upkeep.forget(tmp_path, ["r1"]).answers == 5
    with Store(tmp_path, IDENTITY) as one:
        assert set(found(one, range(10))) == set(range(5, 10))
        assert [one.deaths(request(number).key) for number in (20, 21, 22)] == [0, 1, 0]
    assert {row for path in parts_in(tmp_path) for row in pl.read_parquet(path)["restaurant_id"]} == {"r2"}


def test_forgetting_leaves_nothing_of_damaged_parts(tmp_path):
    fill(tmp_path, range(3))
    (part,) = parts_in(tmp_path)
    part.write_bytes(part.read_bytes()[:-9])
    assert served(tmp_path, range(3)) == {}
    assert list((tmp_path / "answers" / parts.SET_ASIDE).iterdir())
    upkeep.forget(tmp_path, {"somebody"})
    assert not (tmp_path / "answers" / parts.SET_ASIDE).exists()


def test_a_store_that_cannot_be_changed_says_so(tmp_path, monkeypatch):
    fill(tmp_path, range(3))

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(parts, "merge", refused)
    with pytest.raises(BadConfiguration, match="Permission denied"):
        upkeep.forget(tmp_path, {request(0).restaurant_id})


def test_a_description_counts_what_is_there(tmp_path):
    fill_at(tmp_path, -3, range(4), task="sentiment")
    fill(tmp_path, range(4, 10), task="summary")
    served(tmp_path, range(20))
    parts_in(tmp_path)[0].with_name("damaged").mkdir()
    (tmp_path / "answers" / "damaged" / "x").write_bytes(b"")
    about = upkeep.describe(tmp_path)
    counted = {
        name: about[name] for name in ("answers", "parts", "set_aside", "by_task", "suspects", "runs", "looked_up", "served", "hit_rate")
    }
    assert counted == {
        "answers": 10,
        "parts": 2,
        "set_aside": 1,
        "by_task": {"sentiment": 4, "summary": 6},
        "suspects": 0,
        "runs": 1,
        "looked_up": 20,
        "served": 10,
        "hit_rate": 0.5,
    }
    assert about["bytes"] == sum(path.stat().st_size for path in parts_in(tmp_path))
    assert about["newest"] - about["oldest"] > timedelta(days=2)


def test_an_empty_store_is_described_and_what_is_none_is_no_input(tmp_path):
    fill(tmp_path / "store", [])
    assert upkeep.describe(tmp_path / "store")["answers"] == 0
    with pytest.raises(NoInput, match="is no store"):
        upkeep.describe(tmp_path)


def test_upkeep_waits_for_a_run_that_merges_and_then_says_so(tmp_path, monkeypatch):
    fill(tmp_path, [1])
    monkeypatch.setattr(upkeep, "FileLock", lambda path, timeout: store.FileLock(path, timeout=0.1))
    with store.FileLock(tmp_path / upkeep.LOCK), pytest.raises(TryAgain, match="merging"):
        upkeep.prune(tmp_path, max_bytes=0)
    assert len(served(tmp_path, [1])) == 1
