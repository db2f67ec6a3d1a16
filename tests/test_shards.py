"""Shares of one run, done by runs of their own and merged: the results of one run, whatever happened on the way."""

import json
import random
import shutil
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from nights import Nights, assert_equal, read
from test_analysis import rows
from test_incremental import reviews, text_of
from test_previous import spoil

from pipeline import results
from pipeline.errors import BadConfiguration, BadData, EngineDied, TryAgain
from pipeline.job import Job
from pipeline.limits import Limits
from pipeline.merging import merging
from pipeline.priorities import Priorities
from pipeline.reviews import Selection
from pipeline.service_levels import ServiceLevel
from pipeline.shard import Shard
from pipeline.simulation.past_run import read_past_run
from pipeline.tasks import sentiment
from pipeline.tasks.calibration import Fit, anchors

SECOND = {"compare", "strength"}
DAY_1 = [
    *reviews(60, "r0"),
    *reviews(12, "r1", first=100),
    *reviews(12, "r2", first=200),
    *reviews(3, "r3", first=300),
    *reviews(9, "r4", first=400),
    *reviews(1, "r5", first=500),
    ("r5", "broken", None, None, None, None),
    ("r6", "nothing else", " ", None, None, None),
    (None, "lost", "Whose?", None, None, None),
]
DAY_2 = [*DAY_1, *reviews(30, "r2", first=900)]


class Several:
    """Shards of a run on one output, and beside them one run from nothing on another."""

    def __init__(self, nights, count=3):
        self.nights, self.count = nights, count
        self.output = nights.folder / "out"

    def folder(self, index):
        return self.output / "shards" / str(self.count) / str(index)

    def machine(self, **engine):
        return self.nights.machine(text=text_of, **engine)

    def shard(self, index, made=DAY_1, machine=None, **job):
        return self.run(made, machine, shard=Shard(index, self.count), **job)

    def shards(self, made=DAY_1, **job):
        return [self.shard(index, made, **job) for index in range(1, self.count + 1)]

    def merge(self, made=DAY_1, machine=None, **job):
        return self.run(made, machine, merge=self.count, **job)

    def one(self, made=DAY_1, output="one", **job):
        return self.run(made, None, **{"output": output, "store": self.nights.folder / f"{output}-store", **job})

    def run(self, made=DAY_1, machine=None, **job):
        return self.nights.run(made, machine or self.machine(), **job)


@pytest.fixture
def several(nights):
    return Several(nights)


def asked(nights):
    return [request.key for night in nights for request in night.machine.submitted()]


def stages(night):
    return {stage for _, stage, _ in night.asked}


def dealt(parts):
    """The shard of each restaurant."""
    return {name: part.done.manifest["shard"]["index"] for part in parts for name in part.tables["restaurants"]["restaurant_id"]}


def assert_accounts_agree(night):
    """Tokens of the manifest are those of its rows of restaurants and those of its requests."""
    for name in ("prompt", "cached", "output"):
        counted = {int(night.tables[table][f"{name}_tokens"].sum()) for table in ("restaurants", "requests")}
        assert counted == {night.done.manifest["tokens"][name]}


@pytest.mark.parametrize("count", [1, 2, 16])
def test_shards_merged_equal_one_run(nights, count):
    """Of skewed sizes; of sixteen shards most have nothing to do."""
    several = Several(nights, count)
    one, parts, merged = several.one(), several.shards(), several.merge()
    assert_equal(merged.tables, one.tables)
    assert merged.tables["rejects"].height == 3
    assert sorted(dealt(parts)) == merged.tables["restaurants"]["restaurant_id"].to_list()
    assert sum(part.tables["restaurants"].height for part in parts) == 7
    assert stages(merged) <= SECOND
    assert not merged.tables["restaurants"]["reused"].any()
    assert merged.done.manifest["status"] == "complete"
    assert not (several.output / "shards").exists()
    again = several.run()
    assert again.done.nothing_new
    assert again.machine.loaded == 0


def test_random_dumps_over_several_nights_equal_one_run_each_time(nights):
    """New, changed and gone restaurants; shards run in any order, some of them twice, and not as many every night."""
    chance = random.Random(8)
    made = {name: reviews(chance.choice([1, 4, 7, 13, 40]), name, first=1000 * i) for i, name in enumerate("abcdefgh")}
    for night in range(5):
        for name in chance.sample(sorted(made), 2):
            made[name] = [*made[name], *reviews(chance.choice([1, 5, 20]), name, first=50_000 + 100 * night)]
        made.pop(chance.choice(sorted(made)))
        made[f"new{night}"] = reviews(chance.choice([2, 9]), f"new{night}", first=90_000 + 100 * night)
        dump = [row for some in made.values() for row in some]
        several = Several(nights, chance.choice([2, 3, 5]))
        order = chance.sample(range(1, several.count + 1), several.count)
        for index in [*order, *chance.sample(order, chance.choice([0, 1, several.count]))]:
            several.shard(index, dump)
        merged, one = several.merge(dump), several.one(dump)
        assert_equal(merged.tables, one.tables)
        assert_accounts_agree(merged)
        kept = [set(each.tables["restaurants"].filter("reused")["restaurant_id"]) for each in (merged, one)]
        assert kept[0] == kept[1]
        assert several.run(dump).done.nothing_new


def test_no_restaurant_is_asked_by_two_shards_and_nothing_of_theirs_by_the_merge(several):
    parts = several.shards()
    by_shard = [{restaurant for *_, restaurant in part.asked} for part in parts]
    assert sum(map(len, by_shard)) == len(set.union(*by_shard)) == 6
    assert not set(asked(parts)) & set(asked([several.merge()]))


def test_shards_without_a_common_store_equal_one_run(several):
    one = several.one()
    for index in range(1, 4):
        several.shard(index, store=several.nights.folder / f"store-{index}")
    store = several.nights.folder / "store-of-the-merge"
    merged = several.merge(store=store)
    assert_equal(merged.tables, one.tables)
    assert merged.machine.submitted(anchors=True) == []  # it goes by the boundary of the shards
    assert several.run(store=store).done.nothing_new  # and so does what follows


@pytest.mark.parametrize("options", [{"store": None}, {"force": True}], ids=["no store", "force"])
def test_shards_that_ask_everything_anew_equal_one_run(several, options):
    several.run()
    parts = several.shards(**options)
    assert sum(part.tables["restaurants"].height for part in parts) == 7
    assert {restaurant for part in parts for *_, restaurant in part.asked} == {f"r{i}" for i in range(6)}
    merged = several.merge(**options)
    assert_equal(merged.tables, several.one().tables)
    assert not merged.tables["restaurants"]["reused"].any()


def test_the_same_command_once_more_makes_the_comparisons_that_had_to_wait_and_the_merge_loads_no_model(several):
    first = several.shards()
    assert not stages(first[0]) & SECOND  # its peers were not there yet
    second = several.shards()
    assert set().union(*map(stages, second)) <= SECOND
    assert asked(second)
    assert len(set(asked(first + second))) == len(asked(first + second))
    third = several.shards()
    assert [(part.done.nothing_new, part.machine.loaded) for part in third] == [(True, 0)] * 3
    merged = several.merge()
    assert (merged.machine.loaded, merged.asked) == (0, [])
    assert_equal(merged.tables, several.one().tables)
    assert_accounts_agree(merged)


def test_the_last_shard_compares_its_own_at_once(several):
    parts = several.shards()
    index = dealt(parts)["r1"]
    shutil.rmtree(several.output / "shards")
    others = [several.shard(other, store=None) for other in range(1, 4) if other != index]
    assert not set().union(*map(stages, others)) & SECOND
    assert stages(several.shard(index, store=None)) & SECOND


def test_one_changed_review_the_night_after_is_asked_by_one_shard_and_the_rest_is_carried_over(several):
    several.shards()
    several.merge()
    parts = several.shards(DAY_2)
    assert sorted(part.tables["restaurants"]["restaurant_id"].to_list() for part in parts) == [[], [], ["r2"]]
    assert [part.machine.loaded for part in parts if part.tables["restaurants"].is_empty()] == [0, 0]
    merged = several.merge(DAY_2)
    assert_equal(merged.tables, several.one(DAY_2).tables)
    assert {"r3", "r5", "r6"} <= {name for name, row in merged.restaurants.items() if row["reused"]}
    assert not merged.restaurants["r2"]["reused"]
    assert_accounts_agree(merged)


def test_where_nothing_has_changed_the_merge_has_nothing_to_do_and_leaves_no_shard(several):
    first = several.run()
    assert all(part.machine.loaded == 0 for part in several.shards())
    merged = several.merge()
    assert (merged.done.nothing_new, merged.done.folder) == (True, first.done.folder)
    assert not (several.output / "shards").exists()


def test_what_the_night_cost_on_all_machines_is_in_the_manifest(several):
    levels = (ServiceLevel("restaurant", 600.0), ServiceLevel("ttft", 5.0))
    parts = several.shards(service_levels=levels)
    merged = several.merge(service_levels=levels)
    manifest, of_parts = merged.done.manifest, [part.done.manifest for part in parts]
    assert_accounts_agree(merged)
    assert manifest["counts"]["requests"] == merged.tables["requests"].height
    assert manifest["tokens"]["prompt"] > sum(one["tokens"]["prompt"] for one in of_parts) > 0
    for name in ("read", "generate"):
        assert manifest["seconds"][name] > sum(one["seconds"][name] for one in of_parts)
    assert manifest["store"]["added"] > sum(one["store"]["added"] for one in of_parts)
    assert [one["run_id"] for one in manifest["shards"]["runs"]] == [one["run_id"] for one in of_parts]
    by_task = {row["task"]: row["requests"] for row in manifest["costs"]["tasks"] if row["stage"] is None}
    assert by_task == dict(merged.tables["requests"].filter(~pl.col("reused"))["task"].value_counts().iter_rows())
    level = {one["level"]: one for one in manifest["service_levels"]}
    assert level["restaurant"]["number"] == level["restaurant"]["met"] == 6
    assert not {"shard", "shards"} & several.one().done.manifest.keys()


def test_seconds_count_from_the_first_request_of_any_shard(several):
    parts = several.shards()
    began = datetime.fromisoformat(parts[0].done.manifest["first_request"]) - timedelta(hours=9)
    for hours, part in enumerate(parts):
        told = {**part.done.manifest, "first_request": (began + timedelta(hours=hours)).isoformat()}
        part.done.manifest_path.write_text(json.dumps(told))
    deadline = began + timedelta(hours=1, minutes=30)
    merged = several.merge(priorities=Priorities(deadlines={f"r{i}": deadline for i in range(6)}))
    assert abs(datetime.fromisoformat(merged.done.manifest["first_request"]) - began) < timedelta(seconds=1)
    of_shard = dealt(parts)
    assert set(of_shard.values()) == {1, 2, 3}
    for name in (f"r{i}" for i in range(6)):
        row = merged.restaurants[name]
        assert row["finished_s"] // 3600 == of_shard[name] - 1
        assert row["deadline_met"] == (of_shard[name] <= 2)


def test_a_deadline_that_a_shard_was_told_stays_what_it_was(several):
    soon = datetime.now(UTC) + timedelta(hours=2)
    several.shards(priorities=Priorities(deadlines={"r0": soon}))
    merged = several.merge(priorities=Priorities(deadlines={"r0": soon + timedelta(minutes=5)}))  # +2h, said later
    assert abs(merged.restaurants["r0"]["deadline"] - soon) < timedelta(seconds=1)
    assert merged.done.manifest["deadlines"] == {"met": 1, "missed": 0, "missed_by": []}


# What is missing, too much, or of something else.


def test_a_missing_shard_is_named_and_may_still_come(several):
    several.shard(1)
    several.shard(3)
    with pytest.raises(TryAgain, match=r"of 3 shards 1 have not committed \(2\)"):
        several.merge()
    several.shard(2)
    assert_equal(several.merge().tables, several.one().tables)


def test_without_any_shard_nothing_is_merged(several):
    with pytest.raises(TryAgain, match=r"\(1, 2, 3\)"):
        several.merge()
    assert results.committed(several.output) is None


def test_a_merge_beside_a_shard_at_work_is_told_to_wait(several):
    several.shards()
    with results.lock(several.folder(2)), pytest.raises(TryAgain, match="shard 2 of 3 is at work"):
        several.merge()


def test_one_shard_in_anothers_place_is_told(several):
    several.shards()
    shutil.rmtree(several.folder(3))
    shutil.copytree(several.folder(2), several.folder(3), symlinks=True)
    with pytest.raises(BadConfiguration, match="holds shard 2 of 3 in place of shard 3 of 3"):
        several.merge()


def test_a_run_that_is_no_shard_is_told(several):
    several.shards()
    one = several.one()
    shutil.rmtree(several.folder(3))
    shutil.copytree(one.done.folder.parent.parent, several.folder(3), symlinks=True)
    with pytest.raises(BadConfiguration, match="no shard"):
        several.merge()


OTHERS = {
    "inputs": ({"made": DAY_2}, {}),
    "columns": ({"columns": {"rating": "rating"}}, {}),
    "selection": ({"selection": Selection(since=datetime(2020, 1, 1))}, {}),  # noqa: DTZ001 - as a dump holds it
    "tasks": ({"tasks": ("sentiment", "summary")}, {}),
    "settings": ({"chunk_tokens": 1024}, {}),
    "model": ({}, {"answer_settings": {"dtype": "another"}}),
}


@pytest.mark.parametrize(("part", "options", "machine"), [(part, *how) for part, how in OTHERS.items()], ids=OTHERS)
def test_a_shard_of_another_run_is_named_with_what_it_differs_in(several, part, options, machine):
    several.shard(1)
    several.shard(3)
    other = several.machine()
    for name, value in machine.items():
        setattr(other, name, value)
    several.shard(2, machine=other, **options)
    with pytest.raises(BadConfiguration, match=f"1 of 3 shards do not belong .* shard 2 of 3 differs in its {part}"):
        several.merge()
    several.shard(2)  # the same command with what the others had
    assert_equal(several.merge().tables, several.one().tables)


def test_a_merge_of_another_dump_than_its_shards_is_told(several):
    several.shards()
    with pytest.raises(BadConfiguration, match=r"3 of 3 shards do not belong .* differs in its inputs"):
        several.merge(DAY_2)


def test_a_shard_with_another_boundary_of_sentiment_is_told(several, patched):
    several.shard(1, store=several.nights.folder / "a")
    several.shard(2, store=several.nights.folder / "b")
    patched.setattr(sentiment, "fit", lambda raw: {one.language: Fit(1.1, 0.0, 0.95, 0.9, 80) for one in raw})
    several.shard(3, store=several.nights.folder / "c")
    with pytest.raises(BadConfiguration, match="shard 3 of 3 differs in its calibration"):
        several.merge()


def test_shards_that_fit_at_the_same_time_go_by_the_first_boundary_that_is_kept(several, patched):
    """On unlike machines each finds another one."""
    slopes, parts = [1.0], []

    def fit(raw):
        slope = slopes[-1]
        if slope == 1.0 and len(raw) == len(anchors(["en"])):  # the last word of the first shard
            slopes.append(1.1)
            parts.append(several.shard(2))  # begins and ends before that is kept
        return {one.language: Fit(slope, 0.0, 0.95, 0.9, 80) for one in raw}

    patched.setattr(sentiment, "fit", fit)
    first = several.shard(1)
    parts += [first, several.shard(3)]
    assert len(slopes) == 2
    assert {fit["slope"] for part in parts for fit in part.done.manifest["calibration"].values()} == {1.1}
    assert several.merge().done.manifest["status"] == "complete"


def test_a_commit_between_two_shards_is_told(several):
    several.shard(1)
    several.run()
    several.shard(2)
    several.shard(3)
    with pytest.raises(BadConfiguration, match="shard 1 of 3 differs in its committed run"):
        several.merge()
    several.shard(1)
    assert several.merge().done.nothing_new


@pytest.mark.parametrize("table", ["restaurants", "reviews", "requests"])
def test_a_damaged_shard_is_named_before_anything_is_asked(several, table):
    parts = several.shards()
    spoil(parts[1].done.folder / f"{table}.parquet")
    machine = several.machine()
    with pytest.raises(TryAgain, match=r"remove .* and run shard 2 of 3 again"):
        several.merge(machine=machine)
    assert machine.loaded == 0
    shutil.rmtree(several.folder(2))
    several.shard(2)
    assert_equal(several.merge().tables, several.one().tables)


# What goes wrong on the way.


def test_a_shard_that_comes_and_goes_while_another_is_at_work_changes_nothing(several):
    """On another machine, which has the dump at another path."""
    folder, parts = several.nights.folder / "another", []
    folder.mkdir()

    def other(inside):
        if not parts and inside[0].stage != "calibrate":
            options = {"output": several.output, "store": several.nights.folder / "store", "shard": Shard(2, 3)}
            parts.append(Nights(folder, several.nights._model).run(DAY_1, several.machine(), **options))
        return False

    first = several.shard(1, machine=several.machine(dies=other))
    assert sorted({*dealt(parts).values(), *dealt([first]).values()}) == [1, 2]
    several.shard(3)
    assert_equal(several.merge().tables, several.one().tables)


def test_the_same_shard_twice_at_once_gives_way(several):
    with results.lock(several.folder(2)), pytest.raises(TryAgain, match="another run"):
        several.shard(2)


def test_a_shard_that_died_goes_on_with_the_same_command(several):
    several.shard(1)
    several.shard(3)
    dying = several.machine(dies=lambda inside: len(dying.submitted()) > 20)
    with pytest.raises(EngineDied):
        several.shard(2, machine=dying)
    with pytest.raises(TryAgain, match=r"\(2\)"):
        several.merge()
    paid = {key for engine in dying.engines for key in engine.paid}
    again = several.shard(2)
    assert paid
    assert not paid & set(asked([again]))
    assert_equal(several.merge().tables, several.one().tables)


def failing(request):
    return request.restaurant_id == "r1" and request.task == "summary"


def test_what_failed_in_a_shard_is_tried_again_by_its_command(several):
    parts = [several.shard(index, machine=several.machine(fail=failing)) for index in (1, 2, 3)]
    again = several.shard(dealt(parts)["r1"])
    assert ("summary", "part", "r1") in again.asked
    merged = several.merge()
    assert merged.restaurants["r1"]["status"] == "ok"
    assert_equal(merged.tables, several.one().tables)
    assert_accounts_agree(merged)


def test_what_failed_in_a_shard_stays_failed_in_the_merge_and_the_next_run_tries_it_again(several):
    for index in (1, 2, 3):
        several.shard(index, machine=several.machine(fail=failing))
    merged = several.merge()
    assert stages(merged) <= SECOND
    row = merged.restaurants["r1"]
    assert (row["status"], row["fingerprint"], row["reused"]) == ("partial", None, False)
    assert row["strengths_kind"] is not None  # its comparison needs no summary
    assert merged.done.manifest["status"] == "incomplete"
    next_night = several.run()
    assert {restaurant for _, stage, restaurant in next_night.asked if stage not in SECOND} == {"r1"}
    assert_equal(next_night.tables, several.one().tables)


def test_a_comparison_that_failed_in_a_shard_or_the_merge_is_made_by_the_next_run(several):
    def fail(request):
        return request.stage in SECOND

    several.shards()
    several.shard(1, machine=several.machine(fail=fail))
    merged = several.merge(machine=several.machine(fail=fail))
    assert stages(merged) <= SECOND
    assert_equal(several.run().tables, several.one().tables)


def test_a_shard_that_was_to_stop_early_is_merged_as_it_is_and_the_next_run_goes_on(several):
    several.shards(limits=Limits(max_prompt_tokens=800))
    merged = several.merge()
    assert "pending" in {row["status"] for row in merged.restaurants.values()}
    assert stages(merged) <= SECOND
    assert set(merged.restaurants) == {f"r{i}" for i in range(7)}
    assert_equal(several.run().tables, several.one().tables)


def test_a_merge_that_was_to_stop_early_leaves_comparisons_pending_and_the_next_run_makes_them(several):
    several.shards()
    merged = several.merge(limits=Limits(max_prompt_tokens=1))
    assert "pending" in {row["status"] for row in merged.restaurants.values()}
    next_night = several.run()
    assert stages(next_night) <= SECOND
    assert_equal(next_night.tables, several.one().tables)


def test_a_merge_that_died_goes_on_with_the_same_command(several):
    several.shards()
    with pytest.raises(EngineDied):
        several.merge(machine=several.machine(dies=bool))
    assert results.committed(several.output) is None
    assert_equal(several.merge().tables, several.one().tables)


def test_shards_that_a_merge_left_behind_are_not_merged_twice(several):
    """Nor are they missed by a merge that is asked once more, as by a scheduler that has lost the first answer."""
    several.shards()
    kept = several.nights.folder / "kept"
    shutil.copytree(several.output / "shards", kept, symlinks=True)
    merged = several.merge()
    shutil.copytree(kept, several.output / "shards", symlinks=True)
    for _ in range(2):
        again = several.merge()
        assert (again.done.nothing_new, again.done.folder, again.machine.loaded) == (True, merged.done.folder, 0)
        assert not (several.output / "shards").exists()
    with pytest.raises(TryAgain, match=r"\(1, 2, 3\)"):
        several.merge(DAY_2)


def test_a_merge_that_finds_nothing_to_merge_leaves_a_shard_alone_that_begins_meanwhile(several):
    several.shards()
    several.merge()
    job = Job(["dump.parquet"], several.output, merge=several.count)
    with merging(job, None) as merge:
        assert merge.there == ()
        several.folder(1).mkdir(parents=True)
    assert several.folder(1).exists()


# Parts of a dump, days, queries, tasks.


def test_a_narrow_update_in_shards_equals_one_run(several):
    several.run()
    several.one()
    options = {"selection": Selection(restaurants=("r1", "r2", "r3")), "update": True}
    several.shards(DAY_2, **options)
    merged = several.merge(DAY_2, **options)
    assert_equal(merged.tables, several.one(DAY_2, **options).tables)
    assert len(merged.restaurants) == 7
    assert_equal(several.run(DAY_2).tables, several.one(DAY_2).tables)


def test_a_narrow_shard_does_not_lead_to_the_replacement_of_a_wider_run_unasked(several):
    several.run()
    with pytest.raises(BadConfiguration, match="--update"):
        several.shard(1, selection=Selection(limit=1))


def test_a_day_in_shards_carries_over_from_the_latest_other_day(several):
    several.run(output="out/dt=2026-01-01")
    today = {"output": "out/dt=2026-01-02"}
    parts = several.shards(DAY_2, **today)
    assert list(dealt(parts)) == ["r2"]
    merged = several.merge(DAY_2, **today)
    assert_equal(merged.tables, several.one(DAY_2).tables)
    assert not (several.output / "dt=2026-01-02" / "shards").exists()


def test_queries_are_expanded_by_the_merge(several, write_dump):
    queries = write_dump(several.nights.folder / "queries.parquet", [{"query_id": "q", "text": "spicy noodles"}])
    parts = several.shards(queries=(queries,))
    assert not any("query_expansion" in {task for task, *_ in part.asked} for part in parts)
    merged = several.merge(queries=(queries,))
    assert "query_expansion" in {task for task, *_ in merged.asked}
    assert pl.read_parquet(merged.done.folder / "queries.parquet")["query_id"].to_list() == ["q"]


@pytest.mark.parametrize("options", [{"two_stage": False}, {"tasks": ("sentiment",)}], ids=["single", "sentiment"])
def test_where_nobody_is_compared_the_merge_has_nothing_to_ask(several, options):
    several.shards(**options)
    merged = several.merge(**options)
    assert merged.machine.loaded == 0
    assert_equal(merged.tables, several.one(**options).tables)


def test_a_shard_shows_readers_of_the_output_nothing(several):
    first = several.run()
    several.shards(DAY_2)
    found = results.committed(several.output)
    assert found[0] == first.done.folder
    assert_equal(read(found[0]), first.tables)


def test_of_shards_that_share_a_store_one_asks_the_anchors(several):
    assert [len(part.machine.submitted(anchors=True)) for part in several.shards()] == [len(anchors(["en"])), 0, 0]


def test_a_merged_run_is_not_taken_for_one_of_a_single_engine(several):
    several.shards()
    several.merge()
    with pytest.raises(BadData, match="merged of 3 shards"):
        read_past_run(several.output, print)


def test_there_is_no_shard_beyond_the_last():
    with pytest.raises(ValueError, match="no shard 4 of 3"):
        Shard(4, 3)


def test_more_shards_than_restaurants(nights):
    several, made = Several(nights, 5), rows([2, 1], broken=1)
    several.shards(made)
    assert_equal(several.merge(made).tables, several.one(made).tables)
