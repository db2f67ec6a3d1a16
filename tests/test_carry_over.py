"""Which rows are carried over and which are looked at again: failures are, what no model run can change is not, a new day is no reason."""

import pytest
from nights import assert_equal
from test_incremental import reviews, text_of
from test_limits import SECOND_STAGE

from pipeline import results
from pipeline.errors import BadConfiguration
from pipeline.reviews import Selection
from pipeline.tasks import sentiment
from pipeline.tasks.calibration import Fit

FAILURES = {
    "everything": lambda request: True,
    "one review": lambda request: request.task == "sentiment" and int(request.key[:2], 16) < 60,
    "the claims of one chunk": lambda request: request.stage == "find" and request.chunk == 0,
    "the aspects": lambda request: request.stage == "aspect",
    "a merge": lambda request: request.stage == "merge",
}


@pytest.mark.parametrize("fails", FAILURES.values(), ids=FAILURES)
def test_a_restaurant_of_which_anything_failed_is_tried_again_until_it_is_whole(nights, fails):
    rows = [*reviews(60, "r0"), *reviews(3, "r1", first=100)]
    sick = nights.machine(text=text_of, fail=lambda request: request.restaurant_id == "r0" and fails(request))
    first = nights.run(rows, sick)
    failed = set(first.tables["requests"].filter(status="failed")["key"])
    assert failed
    second = nights.run(rows, nights.machine(text=text_of))
    assert failed <= {request.key for request in second.machine.submitted()}
    assert {restaurant for _, stage, restaurant in second.asked if stage not in SECOND_STAGE} == {"r0"}
    assert second.restaurants["r0"]["status"] == "ok"
    assert second.restaurants["r0"]["unlabelled_count"] == 0
    assert nights.run(rows).done.nothing_new


def test_a_restaurant_out_of_the_models_reach_is_not_tried_again(nights, patched):
    patched.setattr(
        sentiment, "fit", lambda raw: {one.language: Fit(1.0, 0.0, 0.95 if one.language == "en" else 0.5, 0.9, 80) for one in raw}
    )
    rows = [*reviews(2), ("r1", "k", "국물이 진하고 맛있어요.", 5.0, None, None)]
    first = nights.run(rows)
    assert "does not read Korean" in first.restaurants["r1"]["error"]
    again = nights.run(rows)
    assert again.done.nothing_new
    assert again.machine.loaded == 0


def test_a_new_days_partition_carries_over_from_the_latest_other_day(nights):
    nights.run(reviews(3), output="out/dt=2026-01-01")
    nights.run([*reviews(3), *reviews(3, "r1", first=100)], output="out/dt=2026-01-02")
    rows = [*reviews(3), *reviews(4, "r1", first=100), *reviews(1, "r2", first=200)]
    night = nights.run(rows, output="out/dt=2026-01-03")
    assert {restaurant for _, stage, restaurant in night.asked if stage not in SECOND_STAGE} == {"r1", "r2"}
    assert not night.done.nothing_new
    same = nights.run(rows, output="out/dt=2026-01-04")
    assert (same.machine.loaded, same.done.nothing_new) == (0, False)
    assert_equal(same.tables, night.tables)


def test_what_a_killed_run_of_another_day_left_goes_with_the_next_run_and_what_a_living_one_holds_stays(nights):
    dead, living = (nights.folder / f"out/dt=2026-01-0{day}" for day in (1, 2))
    left = [dead / ".rows-of-this-run/x.arrow", dead / ".store-of-this-run/y.parquet", dead / "runs/20260101T000000Z-000000/z.parquet"]
    held = living / ".rows-of-this-run/x.arrow"
    for path in (*left, held):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with results.lock(living):
        nights.run(reviews(1), output="out/dt=2026-01-03")
        assert ([path.parent.exists() for path in left], held.exists()) == ([False] * 3, True)
    nights.run(reviews(1), output="out/dt=2026-01-03")
    assert not held.parent.exists()


def test_a_day_can_be_begun_while_what_its_killed_run_left_is_being_removed(nights, monkeypatch):
    dead, begun = nights.folder / "out/dt=2026-01-01", []
    (dead / ".rows-of-this-run").mkdir(parents=True)
    (dead / ".rows-of-this-run/x.arrow").touch()
    remove = results.shutil.rmtree

    def slowly(path, **options):
        if path.parent.name == dead.name:
            with results.lock(dead):
                begun.append(path)
        remove(path, **options)

    monkeypatch.setattr(results.shutil, "rmtree", slowly)
    nights.run(reviews(1), output="out/dt=2026-01-03")
    assert len(begun) == 1
    assert not list(dead.glob(".*-of-this-run"))


def test_a_damaged_other_day_costs_only_what_it_would_have_spared(nights):
    nights.run(reviews(3), output="out/dt=2026-01-01")
    nights.run(reviews(3), output="out/dt=2026-01-02")
    (nights.folder / "out/dt=2026-01-02/current.json").write_text("torn")
    assert nights.run(reviews(3), output="out/dt=2026-01-03").restaurants["r0"]["reused"]
    with pytest.raises(BadConfiguration, match=r"current\.json"):
        nights.run(reviews(3), output="out/dt=2026-01-02")


def test_an_update_keeps_a_reject_whose_row_number_a_reject_of_another_restaurant_has_taken(nights):
    mine, other = (*reviews(1)[0][:2], None, None, None, None), ("r1", "x", None, None, None, None)
    nights.run([*reviews(2), other])
    night = nights.run([*reviews(2), mine, other], selection=Selection(restaurants=("r0",)), update=True)
    assert sorted(night.tables["rejects"]["restaurant_id"]) == ["r0", "r1"]
    assert [row["rejected_count"] for row in night.restaurants.values()] == [1, 1]
