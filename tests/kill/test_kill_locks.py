"""Two runs at the same time: on one output the second gives way, on one store both go on."""

import pytest
import views
from places import Place, write_dump

from pipeline import upkeep
from pipeline.store import Store

pytestmark = pytest.mark.kill
STEP_S = 0.02
TRY_AGAIN = 75
MERGING = {"pipeline.store.FLUSH_S": 0.1, "pipeline.store.MANY_PARTS": 3, "pipeline.upkeep.MANY_PARTS": 3}
"""So that runs write and merge all the time."""


@pytest.fixture(scope="module")
def unkilled(base, new_place) -> Place:
    place = new_place(write_dump(base / "held.parquet", [40, 20, 60, 5], 2))
    assert place.run() == 0, place.said
    return place


def test_a_second_run_on_the_same_output_names_the_first_and_gives_way(new_place, unkilled):
    place = new_place(unkilled.dump)
    first = place.start(step_s=STEP_S)
    place.wait_for_answers(10)
    assert place.run() == TRY_AGAIN
    assert f"held by another run (process {first.pid} on " in place.said
    assert not place.answered()
    first.join(60)
    assert first.exitcode == 0
    views.check_tidy(place.output)
    views.assert_equal_results(place.output, views.result_columns(unkilled.output))


def test_a_run_starts_at_once_when_the_one_that_held_the_output_was_killed(new_place, unkilled):
    place = new_place(unkilled.dump)
    for _ in range(3):
        process = place.start(step_s=STEP_S)
        place.wait_for_answers(10)
        process.kill()
        process.join()
    assert place.run() == 0, place.said
    views.assert_equal_results(place.output, views.result_columns(unkilled.output))


def test_runs_that_share_a_store_lose_no_answer_and_leave_it_readable(base, new_place, monkeypatch):
    dumps = [write_dump(base / f"shared-{i}.parquet", sizes, 0) for i, sizes in enumerate([[150, 30], [90, 30, 40], [30, 60, 40, 60]])]
    alone = [new_place(dump) for dump in dumps]
    assert [place.run() for place in alone] == [0, 0, 0]
    together = [new_place(dump) for dump in dumps]
    store = base / "shared.store"
    processes = [place.start("--store", str(store), step_s=STEP_S, patches=MERGING) for place in together]
    monkeypatch.setattr(upkeep, "MANY_PARTS", 3)
    while any(process.is_alive() for process in processes):
        Store(store, "00").close()  # whoever opens a store merges what others have written so far
    assert [process.exitcode for process in processes] == [0, 0, 0], [place.said for place in together]
    for place, one in zip(together, alone, strict=True):
        assert "Traceback" not in place.said, place.said
        views.assert_equal_results(place.output, views.result_columns(one.output))
        assert set(place.answered()) <= place.stored(store), "answers were lost"
    for place in together:
        again = new_place(place.dump)
        assert again.run("--store", str(store)) == 0, again.said
        assert not again.answered()
