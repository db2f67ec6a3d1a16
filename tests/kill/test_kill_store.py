"""SIGKILL before every step in which a store merges its parts, and after the last: no answer is lost."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import views
from places import Place, write_dump

pytestmark = pytest.mark.kill
AT_ONCE = 3
IN_SMALL_PARTS = {"pipeline.store.FLUSH_S": 0.05}
MERGING = {"pipeline.upkeep.MANY_PARTS": 3}


@pytest.fixture(scope="module")
def unmerged(base, new_place) -> Place:
    """A run that left its answers in many small parts."""
    place = new_place(write_dump(base / "parts.parquet", [9, 6, 12, 5], 1))
    assert place.run(step_s=0.015, patches=IN_SMALL_PARTS) == 0, place.said
    return place


def test_a_kill_at_any_step_of_a_merge_loses_no_answer(new_place, unmerged):
    whole = views.stored_keys(unmerged.store)
    merged = new_place(unmerged.dump, unmerged.store)
    assert merged.run(patches=MERGING, within="merge", steps=merged.folder / "steps") == 0, merged.said
    steps = (merged.folder / "steps").read_text().splitlines()
    assert {"create", "sync", "os.rename", "os.remove", "after"} <= {step.split()[0] for step in steps}

    def kill(number):
        place = new_place(unmerged.dump, unmerged.store)
        assert place.run(patches=MERGING, within="merge", die_at=number) == -signal.SIGKILL, place.said
        if views.stored_keys(place.store) != whole:
            return f"before step {number}, {steps[number - 1]}: answers are lost"
        assert place.run(patches=MERGING) == 0, place.said
        if place.answered():
            return f"before step {number}, {steps[number - 1]}: stored answers are asked again"
        views.assert_equal_results(place.output, views.result_columns(unmerged.output))
        return None

    with ThreadPoolExecutor(AT_ONCE) as threads:
        failures = [found for found in threads.map(kill, range(1, len(steps) + 1)) if found]
    assert not failures, "\n".join(failures)
