"""SIGTERM and SIGINT to the process group, as schedulers and terminals send them: a quick, clean end that keeps the work."""

import os
import signal
import time

import pytest
import views
from places import Place, write_dump

from pipeline.tasks.calibration import anchors

pytestmark = pytest.mark.kill
STEP_S = 0.02
PER_STEP = 3
"""Answers of one step, which a signal may catch on their way into the store."""
AMID = {"calibrating": 100, "analysing": len(anchors({"en"})) + 100}
"""Answers, while a run does this."""


@pytest.fixture(scope="module")
def unkilled(base, new_place) -> Place:
    place = new_place(write_dump(base / "stopped.parquet", [60, 40, 90, 5], 2))
    assert place.run(steps=place.folder / "steps") == 0, place.said
    return place


@pytest.mark.parametrize("doing", AMID)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_soon_keeps_finished_answers_and_publishes_nothing(new_place, unkilled, number, doing):
    place = new_place(unkilled.dump)
    old = views.check_view(place.output)
    process = place.start(step_s=STEP_S)
    place.wait_for_answers(AMID[doing])
    sent = time.monotonic()
    os.killpg(process.pid, number)
    process.join(10)
    assert process.exitcode == 128 + number, place.said
    assert time.monotonic() - sent < 10
    assert len(set(place.answered()) - place.stored()) <= PER_STEP
    assert views.check_view(place.output) == old
    views.check_tidy(place.output)
    kept = place.stored()
    assert place.run() == 0, place.said
    assert not kept & set(place.answered())
    views.assert_equal_results(place.output, views.result_columns(unkilled.output))


@pytest.mark.parametrize("doing", AMID)
def test_a_second_signal_ends_a_run_at_once_that_hangs_while_it_stops(new_place, unkilled, doing):
    place = new_place(unkilled.dump)
    process = place.start(step_s=STEP_S, abort_s=60)
    place.wait_for_answers(AMID[doing])
    os.killpg(process.pid, signal.SIGTERM)
    process.join(1.5)
    assert process.exitcode is None, "the engine was to hang: nothing was tested"
    os.killpg(process.pid, signal.SIGTERM)
    process.join(5)
    assert process.exitcode == 128 + signal.SIGTERM
    assert place.run() == 0, place.said


def test_a_signal_at_any_step_of_the_commit_leaves_the_old_run_or_the_new_one_whole(new_place, unkilled):
    steps = (unkilled.folder / "steps").read_text().splitlines()
    pointed = steps.index(next(step for step in steps if step.endswith(".current.json")))  # from there on it is finished first
    for number in [1, 2, 7, pointed - 6, pointed, *range(pointed + 1, len(steps) + 1, 2)]:
        place = new_place(unkilled.dump, unkilled.store)
        old = views.check_view(place.output)
        code = place.run(die_at=number, by=signal.SIGTERM)
        where = f"before step {number}, {steps[number - 1]}: {place.said}"
        committed = views.check_view(place.output) != old
        assert (code, committed) == ((0, True) if number > pointed else (128 + signal.SIGTERM, False)), where
        views.check_tidy(place.output)
