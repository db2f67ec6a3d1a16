"""Results in an object store keep the promises of those in a folder: whole or not at all, one writer, nothing secret said."""

import json
import os
import signal
import time
from dataclasses import replace

import pytest
import views
from conftest import BROKEN, KEY, SECRET, SIZES
from faulty_server import Fault
from leaseless import NoLease
from places import write_dump
from test_cli import jobs

pytestmark = pytest.mark.cloud
IMPATIENT = {"pipeline.object_store.RETRIES": 2, "pipeline.object_store.RETRYING_S": 4}


def larger(place):
    """One review more in one restaurant."""
    write_dump(place.dump, [SIZES[0] + 1, *SIZES[1:]], BROKEN)


def run_of(cloud):
    return json.loads(cloud.read("current.json"))["run"]


def test_a_bucket_holds_the_results_of_a_folder(place, cloud, expected, tmp_path):
    assert place.run() == 0, place.said
    assert place.said.splitlines()[-1] == f"{cloud.uri}/{run_of(cloud)}/manifest.json"
    views.assert_equal_results(cloud.fetched(tmp_path / "seen"), expected)
    cloud.check_tidy()
    assert not list((tmp_path / "tmp").rglob("*.parquet")), "a run leaves nothing on this machine"


def test_a_report_is_made_of_a_bucket_and_lies_beside_its_results(place, cloud, monkeypatch):
    assert place.run() == 0, place.said
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    done = jobs("report", cloud.uri)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{cloud.uri}/{run_of(cloud)}/report.html"
    assert cloud.read(f"{run_of(cloud)}/report.html").startswith(b"<!doctype html>")


def test_nothing_new_writes_nothing_but_its_lease(place, cloud):
    assert place.run() == 0, place.said
    before = cloud.objects()
    assert place.run("--skip-exit-code", "99") == 99, place.said
    assert {name: tag for name, tag in cloud.objects().items() if name != ".lease.json"} == {
        name: tag for name, tag in before.items() if name != ".lease.json"
    }


def test_restaurants_that_have_not_changed_are_carried_over_from_a_bucket(place, cloud):
    assert place.run() == 0, place.said
    larger(place)
    assert place.run() == 0, place.said
    assert json.loads(cloud.read(f"{run_of(cloud)}/manifest.json"))["counts"]["carried_over"] == len(SIZES) - 1
    assert 0 < len(place.answered()) < len(place.answered(0))


def test_the_next_day_carries_over_from_the_latest_day_in_the_bucket(place, cloud):
    assert place.run("--date", "2026-11-20") == 0, place.said
    assert place.run("--date", "2026-11-21") == 0, place.said
    manifests = [name for name in cloud.objects() if name.endswith("manifest.json")]
    told = {name.split("/")[0]: json.loads(cloud.read(name)) for name in manifests}
    assert told["dt=2026-11-21"]["counts"]["carried_over"] == len(SIZES)
    assert place.answered() == {}


def test_a_dump_in_a_bucket_is_read_and_named_in_the_manifest(place, cloud, expected, tmp_path):
    uri = cloud.put(place.dump, "dumps/dump.parquet")
    place.dump = uri
    assert place.run() == 0, place.said
    manifest = json.loads(cloud.read(f"{run_of(cloud)}/manifest.json"))
    assert [one["path"] for one in manifest["inputs"]] == [uri]
    seen = views.result_columns(cloud.fetched(tmp_path / "seen"))
    assert seen["restaurants"].equals(expected["restaurants"])


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_kill_at_any_write_leaves_the_old_results_or_the_new(place, cloud, tmp_path, after):
    """`after`: the store has done what the dead run asked it for."""
    assert place.run() == 0, place.said
    exit_code, moved = -signal.SIGKILL, []
    while exit_code == -signal.SIGKILL:
        step = len(moved)
        write_dump(place.dump, [SIZES[0] + 1 + step, *SIZES[1:]], BROKEN)  # something new each time
        before = run_of(cloud)
        process = place.start()
        cloud.server.faults[:] = [Fault("kill", skip=step, after=after, pid=process.pid)]
        process.join(60)
        exit_code = process.exitcode
        cloud.server.faults.clear()
        views.read_run(views.resolve(cloud.fetched(tmp_path / f"seen-{step}") / "current.json"))
        moved.append(run_of(cloud) != before)
    assert exit_code == 0, place.said
    assert set(moved[:-1]) == {True, False}, "some were killed before the commit, some after it"
    assert len(moved) > 8, "the lease, four tables, the manifest, the lease again, the pointer, what is tidied up, the lease"
    cloud.check_tidy()


def test_a_killed_run_is_followed_at_once_on_its_machine(place, cloud):
    process = place.start()
    cloud.server.faults[:] = [Fault("kill", path="manifest.json", pid=process.pid)]
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert place.run() == 0, place.said


def wait_for(fault):
    end = time.monotonic() + 60
    while fault.times:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(0.5)  # it is under way


def test_what_other_tools_keep_under_the_same_name_stays(place, cloud):
    cloud.put(place.dump, "reviews/out/runs/experiment-7/model.bin")
    for _ in range(2):
        larger(place)
        assert place.run("--force") == 0, place.said
    assert "runs/experiment-7/model.bin" in cloud.objects()


def test_a_commit_whose_answer_comes_too_late_is_a_commit(place, cloud, expected, tmp_path):
    cloud.server.faults[:] = [Fault("hang", path="current.json", after=True, methods=("PUT",))]
    assert place.run(timeout=120) == 0, place.said
    views.assert_equal_results(cloud.fetched(tmp_path / "seen"), expected)


def test_a_store_that_does_not_heed_conditions_is_refused(place, cloud):
    cloud.server.unconditional = True
    try:
        assert place.run() == 78
    finally:
        cloud.server.unconditional = False
    assert "does not heed conditions" in place.said
    assert "current.json" not in cloud.objects()


@pytest.mark.parametrize("name", ["dumps/*.parquet", "dumps/", "dumps", "dumps/**/*.parquet"])
def test_files_behind_a_pattern_or_a_folder_are_read_one_by_one(place, cloud, name, tmp_path):
    below = "dumps/day={}/dump.parquet" if name != "dumps/*.parquet" else "dumps/{}.parquet"
    uris = [cloud.put(place.dump, below.format(day)) for day in (1, 2)]
    cloud.put(place.dump, "dumps/_scratch/left.parquet")
    place.dump = f"s3://{cloud.bucket}/{name}"
    assert place.run() == 0, place.said
    manifest = json.loads(cloud.read(f"{run_of(cloud)}/manifest.json"))
    assert [one["path"] for one in manifest["inputs"]] == uris
    assert all(one["size"] and one["e_tag"] for one in manifest["inputs"])


def test_a_dump_that_changes_while_it_is_read_is_read_again_another_time(place, cloud):
    uri = cloud.put(place.dump, "dumps/dump.parquet")
    other = write_dump(place.folder / "other.parquet", [9], 0)
    place.dump = uri
    replaced = Fault("then", methods=("GET",), path="dump.parquet", skip=1, then=lambda: cloud.put(other, "dumps/dump.parquet"))
    cloud.server.faults[:] = [replaced]
    assert place.run() == 75, place.said
    assert not replaced.times


def test_a_profile_that_is_not_there_is_a_matter_of_configuration(place, cloud):
    assert place.run(environment={**cloud.environment, "AWS_PROFILE": "nobodys", "TMPDIR": str(place.folder)}) == 78
    assert "check the credentials" in place.said


def elsewhere(place, folder):
    """The same output, on a machine that shares nothing with the first."""
    folder.mkdir()
    return replace(place, folder=folder, asked=[])


def test_a_second_writer_is_told_who_holds_the_bucket_and_asks_nothing(place, cloud, tmp_path):
    first = place.start(step_s=0.5)
    place.wait_for_answers(1)
    second = elsewhere(place, tmp_path / "second")
    assert second.run() == 75
    assert f"held by another run (process {first.pid} on " in second.said
    assert second.answered() == {}
    first.join(60)
    assert first.exitcode == 0, place.said
    cloud.check_tidy()


def test_of_two_writers_that_both_believe_to_hold_the_bucket_one_commits(place, cloud, tmp_path):
    assert place.run() == 0, place.said
    larger(place)
    first = place.start(patches={"pipeline.lease.LEASE_S": 2.0})
    cloud.server.faults[:] = [Fault("freeze", path="manifest.json", methods=("PUT",), pid=first.pid)]
    wait_for(cloud.server.faults[0])
    second = elsewhere(place, tmp_path / "second")
    write_dump(tmp_path / "other.parquet", [9, 1], 0)
    second.dump = tmp_path / "other.parquet"
    time.sleep(2.5)
    assert second.run() == 0, second.said
    committed = run_of(cloud)
    os.killpg(first.pid, signal.SIGCONT)
    first.join(60)
    assert first.exitcode == 75, place.said
    assert run_of(cloud) == committed
    views.read_run(views.resolve(cloud.fetched(tmp_path / "seen") / "current.json"))


def test_a_run_that_has_lost_its_lease_asks_nothing_more(place, cloud, tmp_path):
    first = place.start(step_s=0.5, patches={"pipeline.lease.LEASE_S": 2.0})
    place.wait_for_answers(1)
    os.killpg(first.pid, signal.SIGSTOP)
    time.sleep(2.5)
    second = elsewhere(place, tmp_path / "second")
    assert second.run() == 0, second.said
    os.killpg(first.pid, signal.SIGCONT)
    first.join(60)
    assert first.exitcode == 75, place.said
    assert "another run has taken it over meanwhile" in place.said
    assert 0 < len(place.answered()) < len(second.answered())


def test_without_a_lease_the_condition_of_the_commit_lets_one_of_two_through(place, cloud, tmp_path):
    assert place.run() == 0, place.said
    larger(place)
    second, seconds = elsewhere(place, tmp_path / "second"), []
    first_commits = Fault("then", path="current.json", methods=("PUT",))
    first_commits.then = lambda: seconds.append((second.run(patches={"pipeline.bucket.Lease": NoLease}), run_of(cloud)))
    cloud.server.faults[:] = [first_commits]
    assert place.run(patches={"pipeline.bucket.Lease": NoLease}) == 75
    assert seconds == [(0, run_of(cloud))], second.said
    assert "another run was committed meanwhile, and this one was not" in place.said
    views.read_run(views.resolve(cloud.fetched(tmp_path / "seen") / "current.json"))


@pytest.mark.parametrize("path", ["reviews.parquet", "manifest.json", "current.json", ".lease.json"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_connection_that_breaks_in_the_middle_of_a_write_is_mended(place, cloud, expected, tmp_path, path, after):
    cloud.server.faults[:] = [Fault("cut", path=path, after=after, methods=("PUT",))]
    assert place.run() == 0, place.said
    assert not cloud.server.faults[0].times, "it broke"
    views.assert_equal_results(cloud.fetched(tmp_path / "seen"), expected)
    cloud.check_tidy()


def test_a_connection_that_breaks_while_the_run_before_is_read_is_mended(place, cloud):
    assert place.run() == 0, place.said
    larger(place)
    cloud.server.faults[:] = [Fault("cut", path="restaurants.parquet", methods=("GET",)), Fault("refuse", methods=("GET",), times=2)]
    assert place.run() == 0, place.said
    assert place.answered(), "only what is new"
    assert len(place.answered()) < len(place.answered(0))


def test_a_store_that_does_not_answer_ends_the_run_with_75_and_leaves_the_old_results(place, cloud):
    assert place.run() == 0, place.said
    before = cloud.objects()
    larger(place)
    cloud.server.faults[:] = [Fault("refuse", path="manifest.json", methods=("PUT",), times=1_000)]
    assert place.run(patches=IMPATIENT) == 75
    assert "could not be written (503 Service Unavailable, SlowDown); run again" in place.said
    assert {name: tag for name, tag in cloud.objects().items() if name in before and name != ".lease.json"} == {
        name: tag for name, tag in before.items() if name != ".lease.json"
    }
    cloud.server.faults.clear()
    answers = len(place.answered())
    assert answers
    assert place.run() == 0, place.said
    assert place.answered() == {}, "paid for by the run that failed"


def test_what_a_store_refuses_is_said_without_keys(place, cloud):
    said = f"<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>{KEY}</AWSAccessKeyId><Secret>{SECRET}</Secret></Error>"
    cloud.server.faults[:] = [Fault("refuse", methods=("GET", "PUT"), status="403 Forbidden", body=said.encode(), times=100)]
    assert place.run() == 78
    assert "SignatureDoesNotMatch" in place.said
    assert "check the credentials" in place.said
    assert KEY not in place.said
    assert SECRET not in place.said


def test_no_key_is_written_anywhere(place, cloud):
    assert place.run("--verbose") == 0, place.said
    for name in cloud.objects():
        content = cloud.read(name)
        assert KEY.encode() not in content
        assert SECRET.encode() not in content
    assert KEY not in place.said
    assert SECRET not in place.said


def test_credentials_in_a_uri_are_refused_and_not_repeated(place):
    assert place.run("--output", f"s3://{KEY}:{SECRET}@bucket/out") == 78
    assert "credentials do not belong there" in place.said
    assert SECRET not in place.said


def test_a_bucket_that_is_not_there_is_a_matter_of_configuration(place):
    assert place.run("--output", "s3://no-such-bucket-here/out") == 78
    assert "no such bucket" in place.said


def test_an_output_in_a_bucket_wants_to_know_where_answers_are_kept(place, cloud, tmp_path):
    done = jobs("analyze", place.dump, "--output", cloud.uri)
    assert done.returncode == 2
    assert "--store" in done.stderr


def test_a_run_that_ends_gives_the_bucket_back_at_once(place, cloud, tmp_path):
    assert place.run() == 0, place.said
    assert json.loads(cloud.read(".lease.json"))["until"] == 0.0
    assert elsewhere(place, tmp_path / "second").run() == 0


def test_a_killed_runs_lease_runs_out_for_others(place, cloud, tmp_path):
    process = place.start(patches={"pipeline.lease.LEASE_S": 12.0})
    cloud.server.faults[:] = [Fault("kill", path="manifest.json", pid=process.pid)]
    process.join(60)
    second = elsewhere(place, tmp_path / "second")
    assert second.run() == 75
    assert "if it was killed, the place is free in " in second.said
    time.sleep(12)
    assert second.run() == 0, second.said
