"""Answers by content: what was paid for is found again, whole; what is no answer is never served; a full disk tears nothing."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from stored import IDENTITY, answer, fill, found, parts_in, request, served

from pipeline import parts, upkeep, usage
from pipeline import store as store_module
from pipeline.errors import BadConfiguration, TryAgain
from pipeline.store import Store

HERE = Path(__file__).parent


def test_an_answer_is_found_again_with_every_field_to_the_last_bit(tmp_path):
    fill(tmp_path, range(40))
    again = served(tmp_path, range(40))
    assert again == {number: answer(number) for number in range(40)}
    assert [list(again[n].logprobs.items()) for n in range(40)] == [list(answer(n).logprobs.items()) for n in range(40)]


def test_an_answer_is_found_before_it_is_written(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.add(request(1), answer(1))
        assert found(store, [1, 2]) == {1: answer(1)}


def test_what_is_asked_again_and_again_is_served_without_reading_it_back(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "RECENT", 2)
    read = []
    rows = Store._rows
    monkeypatch.setattr(Store, "_rows", lambda self, number: read.append(number) or rows(self, number))
    with Store(tmp_path, IDENTITY) as store:
        for number in (1, 2, 3):
            store.add(request(number), answer(number))
            store.flush()
            assert found(store, [1]) == {1: answer(1)}
        assert found(store, [3]) == {3: answer(3)}
        assert read == []
        assert found(store, [2]) == {2: answer(2)}  # asked once, long ago
        assert len(read) == 1


def test_nobody_waits_while_answers_are_written(tmp_path, monkeypatch):
    begun, others_went_on, waited = threading.Event(), threading.Event(), []
    write = parts.write

    def slow(*of_part):
        begun.set()
        waited.append(others_went_on.wait(5))
        return write(*of_part)

    monkeypatch.setattr(parts, "write", slow)
    with Store(tmp_path, IDENTITY) as store:
        store.add(request(1), answer(1))
        assert begun.wait(5)
        store.add(request(2), answer(2))
        assert found(store, [1, 2, 3]) == {1: answer(1), 2: answer(2)}
        others_went_on.set()
    assert waited == [True, True]
    with Store(tmp_path, IDENTITY) as store:
        assert found(store, [1, 2, 3]) == {1: answer(1), 2: answer(2)}


def test_answers_of_a_flush_that_a_signal_ended_are_written_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.FLUSH_S", 3600.0)

    class StoppedOnce:
        def __init__(self, lock):
            self.lock, self.stops = lock, True

        def __enter__(self):
            self.lock.acquire()

        def __exit__(self, *_):
            self.lock.release()
            if self.stops:
                self.stops = False
                raise KeyboardInterrupt

    with Store(tmp_path, IDENTITY) as store:
        store.add(request(1), answer(1))
        monkeypatch.setattr(store, "_mutex", StoppedOnce(store._mutex))
        with pytest.raises(KeyboardInterrupt):
            store.flush()
        store.add(request(2), answer(2))
    assert served(tmp_path, [1, 2]) == {1: answer(1), 2: answer(2)}


def test_a_disk_slower_than_the_engine_holds_no_more_than_so_many_answers_back(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.MOST_UNWRITTEN", 3)
    monkeypatch.setattr("pipeline.store.FLUSH_S", 3600.0)
    with Store(tmp_path, IDENTITY) as store:
        for number in range(7):
            store.add(request(number), answer(number))
        assert [part.height for part in parts.listed(tmp_path / "answers")] == [3, 3]


def test_answers_of_another_model_or_settings_are_not_found(tmp_path):
    fill(tmp_path, range(5))
    assert served(tmp_path, range(5), identity="cd" * 16) == {}
    assert len(served(tmp_path, range(5))) == 5


@pytest.mark.parametrize("bad", [{"error": "refused", "finish_reason": None}, {"finish_reason": "length"}, {"finish_reason": "abort"}])
def test_a_failed_or_cut_off_answer_is_never_served(tmp_path, bad):
    with Store(tmp_path, IDENTITY) as store:
        store.add(request(1), answer(1, **bad))
        assert found(store, [1]) == {}
    assert served(tmp_path, [1]) == {}


def test_a_fresh_store_serves_nothing_old_and_its_answers_win_afterwards(tmp_path):
    fill(tmp_path, range(6), text="old")
    with Store(tmp_path, IDENTITY, fresh=True) as store:
        assert found(store, range(6)) == {}
        store.add(request(1), answer(1, "new"))
        store.flush()
        assert found(store, range(6)) == {1: answer(1, "new")}
    texts = {number: one.text for number, one in served(tmp_path, range(6)).items()}
    assert texts == {**dict.fromkeys(range(6), "old"), 1: "new"}


def test_a_fresh_store_reads_back_what_it_has_written_to_the_last_bit(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.RECENT", 0)
    fill(tmp_path, range(6), text="old")
    with Store(tmp_path, IDENTITY, fresh=True) as store:
        store.add(request(1), answer(1, "new"))
        store.flush()
        assert found(store, range(6)) == {1: answer(1, "new")}


def test_a_store_that_is_refreshed_serves_what_another_run_has_added_since(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        fill(tmp_path, range(3))
        assert found(store, range(3)) == {}
        store.refresh()
        assert found(store, range(3)) == {number: answer(number) for number in range(3)}
        parts.merge(tmp_path / "answers", parts.listed(tmp_path / "answers"))
        fill(tmp_path, [3])
        store.refresh()
        store.refresh()
        assert found(store, range(4)) == {number: answer(number) for number in range(4)}


def test_a_store_opened_for_a_run_that_has_begun_serves_what_was_added_since_then_and_nothing_older(tmp_path):
    fill(tmp_path, range(6), text="old")
    with Store(tmp_path, IDENTITY, fresh=True) as first:
        first.add(request(1), answer(1, "new"))
        first.flush()
        with Store(tmp_path, IDENTITY, fresh=first.begun) as second:
            assert found(second, range(6)) == {1: answer(1, "new")}


def test_a_fresh_store_serves_nothing_old_that_another_run_has_merged_with_its_answers(tmp_path):
    fill(tmp_path, range(6), text="old")
    with Store(tmp_path, IDENTITY, fresh=True) as store:
        store.add(request(1), answer(1, "new"))
        store.flush()
        parts.merge(tmp_path / "answers", parts.listed(tmp_path / "answers"))
        assert found(store, range(6)) == {1: answer(1, "new")}


def test_what_is_added_is_on_the_disk_within_two_seconds_without_anybody_asking(tmp_path):
    with Store(tmp_path, IDENTITY) as store:
        store.add(request(1), answer(1))
        until = time.monotonic() + 2
        while not parts_in(tmp_path) and time.monotonic() < until:
            time.sleep(0.02)
        assert sum(pl.read_parquet(path).height for path in parts_in(tmp_path)) == 1


def test_many_threads_of_many_runs_add_at_once_and_all_is_found(tmp_path):
    def add(store, numbers):
        for number in numbers:
            store.add(request(number), answer(number))
            if number % 10 == 0:
                store.flush()

    stores = [Store(tmp_path, IDENTITY) for _ in range(3)]
    starts = range(0, 600, 100)
    threads = [threading.Thread(target=add, args=(stores[i % 3], range(start, start + 100))) for i, start in enumerate(starts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert served(tmp_path, range(600)) == {number: answer(number) for number in range(600)}


def test_many_processes_add_at_once_and_all_is_found(tmp_path):
    code = """
import sys
sys.path.insert(0, "tests")
from pathlib import Path
from stored import IDENTITY, answer, request
from pipeline.store import Store
folder, first = Path(sys.argv[1]), int(sys.argv[2])
with Store(folder, IDENTITY) as store:
    for number in range(first, first + 150):
        store.add(request(number), answer(number))
        if number % 30 == 0:
            store.flush()
"""
    runs = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(first)], cwd=HERE.parent) for first in (0, 150, 300)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert served(tmp_path, range(450)) == {number: answer(number) for number in range(450)}


def test_a_run_whose_parts_another_run_merges_at_once_goes_on(tmp_path, monkeypatch):
    write = parts.write

    def merged_at_once(folder, rows, sequence):
        part = write(folder, rows, sequence)
        monkeypatch.setattr(parts, "write", write)
        parts.merge(folder, [*parts.listed(folder)])
        return part

    fill(tmp_path, [1])
    with Store(tmp_path, IDENTITY) as store:
        store.add(request(2), answer(2))
        monkeypatch.setattr(parts, "write", merged_at_once)
        store.flush()
        assert found(store, [1, 2]) == {1: answer(1), 2: answer(2)}


def test_a_run_whose_own_parts_are_merged_by_another_does_not_merge_them_again(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.store.MANY_PARTS", 3)
    with Store(tmp_path, IDENTITY) as store:
        for number in range(3):
            store.add(request(number), answer(number))
            if number == 2:
                parts.merge(tmp_path / "answers", parts.listed(tmp_path / "answers"))
            store.flush()
        assert found(store, range(3)) == {number: answer(number) for number in range(3)}


def test_every_run_that_asked_leaves_a_line_about_its_use(tmp_path):
    fill(tmp_path, range(4))  # asks nothing: no line
    served(tmp_path, range(8))
    with (tmp_path / usage.USAGE).open("ab") as file:
        file.write(b'{"looked_up": 7')  # of a machine that lost power
    lines = usage.noted(tmp_path)
    assert [(line["looked_up"], line["served"], line["added"]) for line in lines] == [(8, 4, 0)]


def test_a_store_in_whose_place_a_file_stands_is_bad_configuration(tmp_path):
    (tmp_path / "store").write_text("in the way")
    with pytest.raises(BadConfiguration, match="cannot be stored there"):
        Store(tmp_path / "store", IDENTITY)


def test_a_store_that_may_not_be_written_is_bad_configuration(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(BadConfiguration, match="Read-only file system"):
        Store(tmp_path / "store", IDENTITY)


def test_a_disk_that_is_really_full_is_said_once_and_nothing_torn_is_served(tmp_path):
    code = f"""
import resource, signal, sys, time
sys.path.insert(0, "tests")
from pathlib import Path
from stored import IDENTITY, answer, request
from pipeline.errors import TryAgain
from pipeline.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path({str(tmp_path)!r})
said = 0
try:
    with Store(folder, IDENTITY) as store:
        for number in range(50):
            store.add(request(number), answer(number))
        store.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        for number in range(50, 5000):
            store.add(request(number), answer(number))
        time.sleep(2.5)
        store.add(request(5000), answer(5000))
except TryAgain as error:
    said += 1
    assert "make room" in str(error), error
print("said", said)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=HERE.parent)
    assert done.stdout == "said 1\n", done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    warnings = []
    again = served(tmp_path, range(5001), warn=warnings.append)
    assert again == {number: answer(number) for number in again}
    assert set(again) >= set(range(50))
    assert warnings == []


def test_a_disk_that_was_full_and_has_room_again_gets_what_was_held(tmp_path, monkeypatch):
    write = parts.write

    def full(*_):
        raise TryAgain("no space left")

    store = Store(tmp_path, IDENTITY)
    monkeypatch.setattr(parts, "write", full)
    store.add(request(1), answer(1))
    with pytest.raises(TryAgain):
        store.flush()
    monkeypatch.setattr(parts, "write", write)
    store.close()
    assert served(tmp_path, [1]) == {1: answer(1)}


def test_scratch_files_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    answers = tmp_path / "answers"
    answers.mkdir()
    dead, living = answers / ".v1-0000000001-1-aa.parquet.7", answers / ".v1-0000000002-1-bb.parquet.8"
    for path in (dead, living):
        path.write_bytes(b"torn")
    os.utime(dead, (0, 0))
    upkeep.compact(answers)
    assert [path.name for path in answers.iterdir()] == [living.name]
