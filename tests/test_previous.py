"""The run before, which may be larger than memory: what is read of it, when, and what happens where that cannot be read."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from nights import assert_equal
from test_incremental import reviews

from pipeline import previous
from pipeline.errors import TryAgain
from pipeline.places import place_of
from pipeline.reviews import Selection
from pipeline.tables import Results

ROWS = [*reviews(3), *reviews(4, "r1", first=100), ("r1", "broken", None, None, None, None)]


def spoil(path: Path):
    """Its pages, not its schema."""
    first = pq.read_metadata(path).row_group(0)
    size = sum(first.column(number).total_compressed_size for number in range(first.num_columns))
    with path.open("r+b") as file:
        file.seek(len("PAR1"))
        file.write(b"\xff" * size)


@pytest.mark.parametrize("table", ["restaurants", "reviews", "rejects"])
def test_of_a_run_whose_pages_are_damaged_no_row_is_carried_over_and_all_is_found_again(nights, table):
    first = nights.run(ROWS)
    spoil(first.done.manifest_path.parent / f"{table}.parquet")
    again = nights.run(ROWS)
    assert not again.done.nothing_new
    assert not again.tables["restaurants"]["reused"].any()
    assert_equal(again.tables, nights.run(ROWS, output="other", force=True).tables)


def test_requests_of_the_run_before_are_never_read(nights):
    first = nights.run(ROWS, two_stage=False)
    spoil(first.done.manifest_path.parent / "requests.parquet")
    again = nights.run([*ROWS, *reviews(2, "r2", first=200)], two_stage=False)
    assert again.tables["restaurants"].filter("reused")["restaurant_id"].to_list() == ["r0", "r1"]


def test_a_run_that_is_gone_when_its_rows_are_needed_is_a_reason_to_try_again(nights, tmp_path):
    folder = nights.run(ROWS).done.folder
    before = previous.find(Results, place_of(nights.folder / "out"), Selection(), False, print, tmp_path)
    assert before.read(pl.col("restaurant_id") == "r1").reviews.height == 4
    (folder / "reviews.parquet").unlink()
    with pytest.raises(TryAgain, match="run again"):
        before.read()
    with pytest.raises(TryAgain, match="run again"):
        before.select("reviews", lambda rows: rows.select("review_id"))
