"""Whole runs once more, nearly every restaurant in a range of its own and in files: what comes out is what comes out of memory."""

import pytest
import test_carry_over
import test_comparison
import test_deadlines
import test_limits
import test_shards
from nights import assert_equal
from test_analysis import rows
from test_deadlines import midnight  # noqa: F401 - fixtures of the tests below
from test_incremental import reviews, text_of
from test_limits import killer, whole  # noqa: F401
from test_shards import several  # noqa: F401

from pipeline import aside, part_cache, reading, spread
from pipeline import reviews as pipeline_reviews

for module in (test_carry_over, test_comparison, test_deadlines, test_limits):
    globals().update({f"{name}_in_many_ranges": test for name, test in vars(module).items() if name.startswith("test_") and callable(test)})
for name in (
    "test_shards_merged_equal_one_run",
    "test_the_same_command_once_more_makes_the_comparisons_that_had_to_wait_and_the_merge_loads_no_model",
    "test_one_changed_review_the_night_after_is_asked_by_one_shard_and_the_rest_is_carried_over",
    "test_a_narrow_update_in_shards_equals_one_run",
):
    globals()[f"{name}_in_many_ranges"] = getattr(test_shards, name)


@pytest.fixture(autouse=True)
def many_ranges(monkeypatch):
    for owner, name, value in ((spread, "RANGE_BYTES", 500), (spread, "HELD_BYTES", 2000), (spread, "ROWS_TOGETHER", 3)):
        monkeypatch.setattr(owner, name, value)
    monkeypatch.setattr(reading, "PIECE_BYTES", 400)
    monkeypatch.setattr(aside, "IN_MEMORY", 1)
    monkeypatch.setattr(part_cache, "SMALL_BYTES", 0)


def without_times(manifest):
    named = ("run_id", "finished_at", "seconds", "costs", "first_request", "store", "inputs")
    return {name: value for name, value in manifest.items() if name not in named}


def test_tables_and_counts_are_those_of_a_run_in_one_range(nights, monkeypatch):
    """Night after night: new, changed and gone restaurants, rejects without a name, a narrow run that keeps the others."""
    days = [
        [
            *reviews(12, "r0"),
            *reviews(7, "s1", first=20),
            *reviews(5, "t2", first=40),
            *rows([3, 1], broken=2),
            (None, "lost", "Whose?", None, None, None),
        ],
        [*reviews(13, "r0"), *reviews(7, "s1", first=20), *reviews(4, "q9", first=50), *rows([2])],
    ]
    monkeypatch.setattr(spread, "RANGE_BYTES", 150)
    cut = []
    made = pipeline_reviews.ranges_for
    monkeypatch.setattr(pipeline_reviews, "ranges_for", lambda *given: cut.append(made(*given)) or cut[-1])
    for number, day in enumerate(days):
        machine = {"text": text_of}
        many = nights.run(day, nights.machine(**machine), update=bool(number))
        with monkeypatch.context() as patch:
            patch.setattr(spread, "RANGE_BYTES", 1 << 30)
            options = {"output": "one", "store": nights.folder / "one-store"}
            one = nights.run(day, nights.machine(**machine), update=bool(number), **options)
        assert_equal(many.tables, one.tables)
        keys = [
            night.tables["requests"].select("key", "restaurant_id", "task").sort("key", "restaurant_id", "task") for night in (many, one)
        ]
        assert keys[0].equals(keys[1])
        assert without_times(many.done.manifest) == without_times(one.done.manifest)
        assert many.tables["restaurants"]["restaurant_id"].is_sorted()
        assert len(cut) == 2 * (number + 1)
        assert (len(cut[-2]) > 2, len(cut[-1])) == (True, 1)
    assert nights.run(days[1], update=True).done.nothing_new
