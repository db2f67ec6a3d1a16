"""SIGKILL from outside at any moment of a run, once or several times in a row: nothing is lost but the last moments."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import views
from places import Place, write_dump

pytestmark = pytest.mark.kill
AT_ONCE = 4
STEP_S = 0.015
LOST_S = 2.0
"""Answers older than that are in the store: they are written every second, and a busy machine gets one more."""


@pytest.fixture(scope="module")
def unkilled(base, new_place):
    """A run of some seconds that nobody kills, and how long it took."""
    place = new_place(write_dump(base / "long.parquet", [80, 60, 120, 4, 2, 150, 40, 70, 30], 3))
    began = time.monotonic()
    assert place.run(step_s=STEP_S) == 0, place.said
    return place, views.result_columns(place.output), time.monotonic() - began


def kill_at(place: Place, moment: float) -> bool:
    """Whether the run was still alive then. Checks what readers see and what is stored."""
    process = place.start(step_s=STEP_S)
    process.join(moment)
    alive = process.exitcode is None
    process.kill()
    killed = time.monotonic()
    process.join()
    alive = alive and process.exitcode == -signal.SIGKILL
    assert alive or process.exitcode == 0, place.said
    views.check_view(place.output)
    stored = place.stored()
    lost = {key: killed - when for key, when in place.answered().items() if key not in stored}
    assert all(age < LOST_S for age in lost.values()), f"answers of {max(lost.values()):.1f} s before the kill are not stored"
    return alive


def go_on_after_kills(place: Place, moments: list[float], expected) -> tuple[int, int]:
    """Kills at these moments, then a run to the end. How many kills met a living run, and how many questions were asked again."""
    alive, again, known = 0, 0, set()
    for moment in [*moments, None]:
        if moment is None:
            assert place.run(step_s=STEP_S) == 0, place.said
        else:
            alive += kill_at(place, moment)
        asked = place.answered()
        assert not known & set(asked), "answers that were in the store were asked for again"
        before = {key: when for number in range(len(place.asked) - 1) for key, when in place.answered(number).items()}
        again += len(before.keys() & asked.keys())
        known = place.stored()
    views.check_view(place.output)
    views.check_tidy(place.output)
    views.assert_equal_results(place.output, expected)
    return alive, again


def play(cases, new_place, unkilled) -> list[tuple[int, int]]:
    place, expected, _ = unkilled
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(lambda moments: go_on_after_kills(new_place(place.dump), moments, expected), cases))


def test_a_run_killed_at_any_moment_goes_on_and_asks_only_the_last_moments_again(new_place, unkilled):
    chance = random.Random(20261122)
    found = play([[chance.uniform(0, unkilled[2])] for _ in range(25)], new_place, unkilled)
    assert sum(alive for alive, _ in found) >= 15
    assert sum(again for _, again in found) > 0, "no kill met work that was not yet stored: nothing was tested"


def test_a_run_killed_many_times_in_a_row_ends_with_the_same_results(new_place, unkilled):
    chance = random.Random(1122)
    found = play([[chance.uniform(0.2, 0.6 * unkilled[2]) for _ in range(4)] for _ in range(4)], new_place, unkilled)
    assert sum(alive for alive, _ in found) >= 8
