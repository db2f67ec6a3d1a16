"""Parts held for lookups: the same rows from memory and from files, no more of them than allowed, and nothing left on the disk."""

import numpy as np
import polars as pl
import pytest

from pipeline import part_cache
from pipeline.part_cache import PartCache, joined


def part(number, count=50):
    random = np.random.default_rng(number)
    keys = random.integers(0, 1 << 63, (count, 2), dtype=np.uint64)
    texts = [f"answer {number}.{i}" if i % 3 else None for i in range(count)]
    return pl.DataFrame({"high": keys[:, 0], "low": keys[:, 1], "choices": [bytes([i]) for i in range(count)], "text": texts})


@pytest.fixture(params=["memory", "file"])
def cache(request, tmp_path, monkeypatch):
    monkeypatch.setattr(part_cache, "SMALL_BYTES", 0 if request.param == "file" else 1 << 30)
    return PartCache(tmp_path)


def test_rows_are_found_by_their_whole_key_and_others_are_not(cache, tmp_path):
    rows = part(1)
    asked = np.array([*rows.select("high", "low").rows()[10:13], (1, 2), (rows["high"][5], rows["low"][5] + 1)], dtype=np.uint64)
    found = joined([cache.get("a", lambda: rows).matching(asked, np.array([0, 2, 3, 4]))])
    assert found.sort("place").rows() == [(0, *rows.rows()[10][2:]), (2, *rows.rows()[12][2:])]
    assert not list(tmp_path.iterdir())


def test_a_part_is_read_once_until_others_take_its_room(cache, monkeypatch):
    reads = []

    def read(number):
        reads.append(number)
        return part(number)

    size = cache.get("0", lambda: read(0)).table.nbytes
    monkeypatch.setattr(part_cache, "MOST_BYTES", int(2.5 * size))
    for number in (0, 1, 0, 2, 0, 1):
        cache.get(str(number), lambda number=number: read(number))
    assert reads == [0, 1, 2, 1]
    cache.drop(["1", "9"])
    cache.get("1", lambda: read(1))
    assert reads == [0, 1, 2, 1, 1]


def test_where_there_is_no_room_for_a_file_a_part_stays_in_memory(monkeypatch, tmp_path):
    monkeypatch.setattr(part_cache, "SMALL_BYTES", 0)
    rows = part(3)
    found = PartCache(tmp_path / "nowhere").get("a", lambda: rows)
    assert found.matching(rows.select("high", "low").to_numpy(), np.arange(50))["text"].to_pylist() == rows["text"].to_list()


def test_no_more_files_are_open_than_the_system_allows_twice(monkeypatch, tmp_path):
    monkeypatch.setattr(part_cache, "SMALL_BYTES", 0)
    monkeypatch.setattr(part_cache, "MOST_PARTS", 3)
    cache = PartCache(tmp_path)
    for number in range(9):
        cache.get(str(number), lambda number=number: part(number))
    assert [number for number in range(9) if cache.holds(str(number))] == [6, 7, 8]


def test_what_is_in_no_file_takes_little_memory(monkeypatch, tmp_path):
    cache = PartCache(tmp_path / "nowhere")
    size = cache.get("0", lambda: part(0)).table.nbytes
    monkeypatch.setattr(part_cache, "MOST_MEMORY", int(2.5 * size))
    for number in range(5):
        cache.get(str(number), lambda number=number: part(number))
    assert [number for number in range(5) if cache.holds(str(number))] == [3, 4]
