"""A run that ends on purpose commits what is done and says what is not; one whose engine dies finds out which request it was."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from nights import assert_equal
from test_analysis import rows

from pipeline import limits, upkeep
from pipeline.errors import EngineDied, Stopped
from pipeline.job import Stop
from pipeline.limits import Limits

SIZES = (3, 8, 1, 60)
SECOND_STAGE = ("compare", "strength")


@pytest.fixture
def whole(nights):
    """A run without limits, on an output and a store of its own."""
    return nights.run(rows(SIZES, broken=2), output="whole", store=nights.folder / "whole-store")


def tokens_of(requests):
    return sum(len(request.prompt) for request in requests)


def keys_of(*some):
    return [request.key for night in some for request in night.machine.submitted()]


def check_pending(night, reason):
    """Pending rows have a reason and no fingerprint; nothing is missing from any table."""
    restaurants = night.restaurants.values()
    pending = [row for row in restaurants if row["status"] == "pending"]
    assert all(reason in row["error"] and row["fingerprint"] is None for row in pending)
    assert all(row["fingerprint"] for row in restaurants if row["status"] == "ok")
    assert sum(row["review_count"] for row in restaurants) == night.tables["reviews"].height == sum(SIZES)
    assert sum(row["rejected_count"] for row in restaurants) == night.tables["rejects"].height == 2
    assert night.done.manifest["counts"]["missing"] == len(pending)
    assert night.done.manifest["status"] == ("incomplete" if pending else "complete")
    return len(pending)


def check_goes_on(nights, whole, *before):
    """A run without limits asks just the rest and ends where one without limits would have ended at once."""
    rest = nights.run(rows(SIZES, broken=2))
    assert_equal(rest.tables, whole.tables)
    assert sorted(keys_of(*before, rest)) == sorted(keys_of(whole))
    assert nights.run(rows(SIZES, broken=2)).done.nothing_new


def test_a_run_past_its_end_commits_everything_as_pending_and_the_next_one_does_it(nights, whole):
    night = nights.run(rows(SIZES, broken=2), limits=Limits(datetime.now(UTC) - timedelta(1)))
    assert night.asked == []
    assert check_pending(night, "the run was to stop at 20") == len(SIZES)
    check_goes_on(nights, whole, night)


def test_an_end_that_is_not_reached_changes_nothing(nights, whole):
    night = nights.run(rows(SIZES, broken=2), limits=Limits(datetime.now(UTC) + timedelta(1), 10**9))
    assert_equal(night.tables, whole.tables)
    assert check_pending(night, "") == 0


def test_what_the_engine_holds_at_the_end_is_finished_and_the_rest_is_pending(nights, whole, patched):
    steps = iter(range(99))

    def late(inside):
        if inside[0].stage != "calibrate" and next(steps) == 5:
            patched.setattr(limits.time, "monotonic", lambda now=time.monotonic: now() + 7200)

    machine = nights.machine(dies=late)
    single = {"two_stage": False}  # else each one waits for all others at the end
    night = nights.run(rows(SIZES, broken=2), machine, limits=Limits(datetime.now(UTC) + timedelta(hours=1)), **single)
    assert 0 < check_pending(night, "the run was to stop at") < len(SIZES)
    assert machine.engines[0].unfinished == 0
    assert 0 < len(night.asked) < len(whole.asked)
    rest = nights.run(rows(SIZES, broken=2), **single)
    alone = nights.run(rows(SIZES, broken=2), output="alone", store=nights.folder / "alone-store", **single)
    assert_equal(rest.tables, alone.tables)
    assert sorted(keys_of(night, rest)) == sorted(keys_of(alone))


def test_a_clock_that_is_set_under_way_moves_no_end(patched):
    one = Limits(datetime.now(UTC) + timedelta(minutes=1))

    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(1)

    patched.setattr(limits, "datetime", Tomorrow)
    assert one.reached(0) is None


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_no_more_prompt_tokens_are_fed_than_allowed_and_the_next_run_asks_the_rest(nights, whole, share):
    most = max(int(share * tokens_of(whole.machine.submitted())), 1)
    night = nights.run(rows(SIZES, broken=2), limits=Limits(max_prompt_tokens=most))
    fed = tokens_of(night.machine.submitted())
    assert fed <= most
    assert fed == night.done.manifest["tokens"]["prompt"]
    assert check_pending(night, f"no more than {most:,} prompt tokens") > 0
    check_goes_on(nights, whole, night)


def test_the_limit_counts_to_the_last_token(nights, whole):
    total = tokens_of(whole.machine.submitted())
    short = nights.run(rows(SIZES, broken=2), limits=Limits(max_prompt_tokens=total - 1), output="short", store=nights.folder / "short")
    exact = nights.run(rows(SIZES, broken=2), limits=Limits(max_prompt_tokens=total))
    assert check_pending(short, "prompt tokens") == 1
    assert check_pending(exact, "prompt tokens") == 0
    assert len(short.asked) == len(whole.asked) - 1


def test_one_limited_run_after_another_ends_where_one_without_limit_ends(nights, whole):
    runs = [nights.run(rows(SIZES, broken=2), limits=Limits(max_prompt_tokens=4000))]
    while check_pending(runs[-1], "prompt tokens"):
        assert len(runs) < 20
        runs.append(nights.run(rows(SIZES, broken=2), limits=Limits(max_prompt_tokens=4000)))
    assert len(runs) > 2
    check_goes_on(nights, whole, *runs)


def test_unchanged_restaurants_and_stored_answers_are_within_any_limit(nights):
    nights.run(rows((3, 3)))
    night = nights.run(rows((3, 3, 3)), limits=Limits(max_prompt_tokens=1))
    assert {name: row["status"] for name, row in night.restaurants.items()} == {"r0": "ok", "r1": "ok", "r2": "pending"}
    stored = nights.run(rows((3, 3)), limits=Limits(max_prompt_tokens=1), output="another")
    assert {row["status"] for row in stored.restaurants.values()} == {"ok"}


@pytest.fixture
def killer(whole):
    """The key of a request in the middle of the run."""
    return keys_of(whole)[40]


def die_of(nights, dies, **options):
    """A run whose engine dies; its machine, with what was inside."""
    machine = nights.machine(dies=lambda inside: inside[0].stage != "calibrate" and dies(inside))
    with pytest.raises(EngineDied):
        nights.run(rows(SIZES), machine, **options)
    return machine


def kills(key):
    return lambda inside: any(request.key == key for request in inside)


def test_what_was_inside_a_dying_engine_is_asked_alone_and_last_and_all_is_well(nights, whole, killer):
    machine = die_of(nights, kills(killer))
    suspects = {request.key for request in machine.engines[0].last_inside}
    assert len(suspects) == machine.window
    seen = []
    night = nights.run(rows(SIZES), nights.machine(dies=lambda inside: seen.append([request.key for request in inside])))
    alone = [inside for inside in seen if suspects & set(inside)]
    assert sorted(alone) == sorted([key] for key in suspects)
    first = min(seen.index(inside) for inside in alone)
    theirs = {request.restaurant_id for request in machine.engines[0].last_inside}
    waiting = {request.key for request in night.machine.submitted() if request.restaurant_id in theirs or request.stage in SECOND_STAGE}
    assert not {key for inside in seen[first:] for key in inside} - waiting
    assert {row["status"] for row in night.restaurants.values()} == {"ok"}
    assert night.restaurants.keys() == whole.restaurants.keys()


def test_a_request_that_two_engines_died_of_is_left_out_and_all_others_are_committed(nights, killer):
    die_of(nights, kills(killer))
    second = die_of(nights, kills(killer))
    assert [request.key for request in second.engines[0].last_inside] == [killer]
    third = nights.run(rows(SIZES), nights.machine(dies=kills(killer)))
    left_out = third.tables["requests"].filter(key=killer).row(0, named=True)
    assert left_out["status"] == "failed"
    failed = third.tables["requests"].filter(status="failed")["key"].to_list()
    assert failed == [killer]
    assert third.restaurants.keys() == {f"r{i}" for i in range(len(SIZES))}
    again = [name for name, row in third.restaurants.items() if row["fingerprint"] is None]
    assert again == [left_out["restaurant_id"]]
    fourth = nights.run(rows(SIZES))
    assert fourth.machine.loaded == 0
    upkeep.forget(nights.folder / "store", again)
    fifth = nights.run(rows(SIZES))
    assert killer in keys_of(fifth)
    assert {row["status"] for row in fifth.restaurants.values()} == {"ok"}


def test_a_reason_says_that_a_request_was_left_out(nights):
    only = rows((1,))
    for _ in range(2):
        with pytest.raises(EngineDied):
            nights.run(only, nights.machine(dies=lambda inside: "label" in {request.stage for request in inside}))
    night = nights.run(only)
    assert "sentiment: the engine died 2 times with this request inside" in night.restaurants["r0"]["error"]
    assert night.restaurants["r0"]["status"] == "partial"


def test_an_engine_that_dies_after_a_stop_signal_makes_no_suspects(nights):
    received = []

    class Signal(Stop):
        def __call__(self):
            if received:
                raise Stopped(15)

    machine = nights.machine(dies=lambda inside: inside[0].stage != "calibrate" and (received.append(15) or True))
    with pytest.raises(Stopped):
        nights.run(rows(SIZES), machine, stop=Signal())
    assert machine.engines[0].last_inside
    assert upkeep.describe(nights.folder / "store")["suspects"] == 0


def test_an_engine_that_dies_while_it_calibrates_makes_no_suspects_and_the_next_run_goes_on(nights):
    with pytest.raises(EngineDied):
        nights.run(rows(SIZES), nights.machine(dies=lambda inside: True))
    assert upkeep.describe(nights.folder / "store")["suspects"] == 0
    assert {row["status"] for row in nights.run(rows(SIZES)).restaurants.values()} == {"ok"}
