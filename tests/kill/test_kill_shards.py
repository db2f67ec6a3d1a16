"""Shards in processes of their own, side by side and killed, and merges killed at every step: the results of one run, each shard once."""

import itertools
import shutil
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import views
from places import Place, write_dump

pytestmark = pytest.mark.kill
AT_ONCE = 3
SHARDS = 3
STEP_S, SLOWLY_S = 0.02, 0.1
TRY_AGAIN = 75
MERGE = {"command": "merge"}


@pytest.fixture(scope="module")
def whole(base, new_place) -> Place:
    """One run of a dump of skewed sizes, two of its restaurants with a good part of the reviews."""
    place = new_place(write_dump(base / "shards.parquet", [70, 6, 4, 60, 2, 9, 1, 12], 2))
    assert place.run() == 0, place.said
    return place


@pytest.fixture(scope="module")
def copied(base) -> Callable[[Place], Place]:
    """`copied(place)` is another place with all that is in it."""
    numbers = itertools.count()

    def copy(place: Place) -> Place:
        scratch = base / f".7{next(numbers):03}"
        shutil.copytree(place.output, scratch / "out", symlinks=True)
        shutil.copytree(place.store, scratch / "out.store")
        return Place(scratch.rename(base / scratch.name[1:]), place.dump)  # the reader sees it whole

    return copy


@pytest.fixture(scope="module")
def done(whole, new_place) -> Place:
    """A place whose shards have all ended."""
    place = new_place(whole.dump)
    for index in range(1, SHARDS + 1):
        assert place.run("--shard", f"{index}/{SHARDS}") == 0, place.said
    return place


def merged(place: Place, expected: Place) -> None:
    assert place.run("--shards", str(SHARDS), **MERGE) == 0, place.said
    views.check_view(place.output)
    views.check_tidy(place.output)
    views.assert_equal_results(place.output, views.result_columns(expected.output))


def test_shards_side_by_side_one_of_them_killed_and_run_again_end_as_one_run(whole, new_place):
    place = new_place(whole.dump)
    old = views.check_view(place.output)
    processes = [place.start("--shard", f"{index}/{SHARDS}", step_s=SLOWLY_S) for index in range(1, SHARDS)]
    doomed = place.start("--shard", f"{SHARDS}/{SHARDS}", step_s=SLOWLY_S)
    place.wait_for_answers(10)
    assert place.run("--shards", str(SHARDS), **MERGE) == TRY_AGAIN, place.said
    doomed.kill()
    doomed.join()
    assert doomed.exitcode == -signal.SIGKILL, "the shard was over before the kill: nothing was tested"
    for process in processes:
        process.join(60)
        assert process.exitcode == 0, place.said
    assert place.run("--shards", str(SHARDS), **MERGE) == TRY_AGAIN
    assert f"have not committed ({SHARDS})" in place.said
    assert views.check_view(place.output) == old
    stored = place.stored()
    assert place.run("--shard", f"{SHARDS}/{SHARDS}") == 0, place.said
    assert not stored & set(place.answered())
    merged(place, whole)


@pytest.mark.parametrize("within", ["commit", "removal"])
def test_a_merge_killed_at_any_step_goes_on_with_the_same_command_and_takes_each_shard_once(whole, done, copied, within):
    counted = copied(done)
    assert counted.run("--shards", str(SHARDS), **MERGE, within=within, steps=counted.folder / "steps") == 0, counted.said
    steps = (counted.folder / "steps").read_text().splitlines()
    assert len(steps) > 20
    numbers = [*range(1, len(steps), 4), len(steps) - 1, len(steps)]

    def kill(number: int) -> str | None:
        place = copied(done)
        old = views.check_view(place.output)
        try:
            code = place.run("--shards", str(SHARDS), **MERGE, within=within, die_at=number)
            assert code == -signal.SIGKILL, place.said
            published = views.check_view(place.output)
            assert within == "commit" or published != old
            merged(place, whole)
            assert published in (old, views.check_view(place.output)), "merged twice"
        except AssertionError as error:
            return f"before step {number}, {steps[number - 1]}: {error}"
        return None

    with ThreadPoolExecutor(AT_ONCE) as threads:
        failures = [found for found in threads.map(kill, numbers) if found]
    assert not failures, "\n".join(failures)


def test_a_signal_to_a_shard_keeps_its_answers_and_shows_readers_nothing(whole, new_place):
    place = new_place(whole.dump)
    old = views.check_view(place.output)
    process = place.start("--shard", f"1/{SHARDS}", step_s=STEP_S)
    place.wait_for_answers(100)
    process.terminate()
    process.join(10)
    assert process.exitcode == 128 + signal.SIGTERM, place.said
    assert views.check_view(place.output) == old
    stored = place.stored()
    for index in range(1, SHARDS + 1):
        assert place.run("--shard", f"{index}/{SHARDS}") == 0, place.said
        assert not stored & set(place.answered())
    merged(place, whole)


def test_a_shard_may_be_made_on_another_machine_and_brought_here(whole, done, copied, base, tmp_path):
    """Without a common file system: each has a copy of the committed run, and its shard's folder is copied back."""
    here = copied(done)
    there = copied(done)
    folder = Path("shards") / str(SHARDS) / "2"
    shutil.rmtree(here.output / folder)
    shutil.rmtree(there.output / "shards")
    shutil.rmtree(there.store)
    assert there.run("--shard", f"2/{SHARDS}") == 0, there.said
    shutil.copytree(there.output / folder, here.output / folder, symlinks=True)
    merged(here, whole)
