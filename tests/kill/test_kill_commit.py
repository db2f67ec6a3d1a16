"""SIGKILL before every step of the commit, and after the last: readers see the old run or the new one, and the same command goes on."""

import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import views
from places import write_dump

pytestmark = pytest.mark.kill
AT_ONCE = 3


@pytest.fixture(scope="module")
def unkilled(base, new_place):
    """A run that nobody kills, its store, and the names of the steps of its commit."""
    place = new_place(write_dump(base / "new.parquet", [4, 4, 6, 1], 3))
    assert place.run() == 0, place.said
    again = new_place(place.dump, place.store)  # as the killed ones will: everything is in the store
    assert again.run(steps=again.folder / "steps") == 0, again.said
    assert not again.answered()
    views.check_tidy(again.output)
    views.assert_equal_results(again.output, views.result_columns(place.output))
    return place, (again.folder / "steps").read_text().splitlines()


def test_the_commit_has_the_steps_that_are_killed_here(unkilled):
    _, steps = unkilled
    kinds = [step.split()[0] for step in steps]
    assert {"create", "write", "sync", "os.mkdir", "os.rename", "os.symlink", "os.remove", "os.rmdir", "after"} == set(kinds)
    assert kinds.count("write") == len(views.TABLES)
    assert 36 <= len(steps) <= 60


def test_a_kill_at_any_step_leaves_the_old_run_or_the_new_one_and_the_same_command_goes_on(unkilled, new_place, reader):
    place, steps = unkilled
    expected = views.result_columns(place.output)
    published = steps.index(next(step for step in steps if step.startswith("os.rename") and step.endswith("current.json"))) + 1

    outputs = []

    def kill(number):
        killed = new_place(place.dump, place.store)
        outputs.append(killed.output)
        old = views.check_view(killed.output)
        assert killed.run(die_at=number) == -signal.SIGKILL, killed.said
        assert (views.check_view(killed.output) == old) == (number <= published)
        assert killed.run() == 0, killed.said
        assert views.check_view(killed.output) != old
        views.check_tidy(killed.output)
        views.assert_equal_results(killed.output, expected)

    def failure(number):
        try:
            kill(number)
        except AssertionError as error:
            return f"before step {number}, {steps[number - 1]}: {error}"

    with ThreadPoolExecutor(AT_ONCE) as threads:
        failures = [found for found in threads.map(failure, range(1, len(steps) + 1)) if found]
    assert not failures, "\n".join(failures)
    seen = [line.split()[1] for line in reader.read_text().splitlines()]
    both = sum(seen.count(str(output)) == 2 for output in outputs)  # lines: an old run, a new one
    assert both > len(steps) / 2, "the reader was elsewhere: nothing was tested"
