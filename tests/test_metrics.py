"""The file for Prometheus: right figures, whole or as before, and no run that depends on it."""

import sys
import time
from types import SimpleNamespace

import polars as pl
import pytest
from prometheus_client.parser import text_string_to_metric_families
from test_cli import jobs
from watching import watched

from jobs.run_gauges import GAUGES, OF_A_COMMIT, OF_ALL, PREFIX


@pytest.fixture
def run(tmp_path, model, patched):
    return watched(tmp_path, model, patched)


def families(path):
    return {family.name: family for family in text_string_to_metric_families(path.read_text())}


def values(path):
    """By name without the prefix, and the labels that not every one has."""
    samples = [sample for family in families(path).values() for sample in family.samples]
    own = [[value for label, value in sorted(sample.labels.items()) if label not in OF_ALL] for sample in samples]
    return {(sample.name.removeprefix(PREFIX), *mine): sample.value for sample, mine in zip(samples, own, strict=True)}


def test_a_committed_run_writes_its_figures(run, tmp_path):
    began, file = time.time(), tmp_path / "reviews.prom"
    run.analyze("--metrics", file, "--slo", "restaurant=10m")
    manifest, found = run.manifest(), values(file)
    assert found["last_run_exit_code",] == 0
    assert began <= found["last_success_timestamp_seconds",] == found["last_run_timestamp_seconds",] <= time.time()
    assert 0 < found["last_run_duration_seconds",] <= time.time() - began
    assert {phase for name, *phase in found if name == "phase_duration_seconds" for phase in phase} == {"read", "load", "generate", "write"}
    assert [found["restaurants", status] for status in ("ok", "partial", "failed", "pending")] == [3, 0, 0, 0]
    assert (found["reviews",], found["rejects",], found["missing",]) == (9, 1, 0)
    tokens = manifest["tokens"]
    assert found["tokens", "prompt_computed"] + found["tokens", "prompt_cached"] == tokens["prompt"]
    assert found["tokens", "output"] == tokens["output"]
    assert found["prompt_cache_ratio",] == tokens["cached"] / tokens["prompt"]
    assert found["requests", "engine"] + found["requests", "known"] == manifest["counts"]["requests"]
    assert (found["store_lookups",], found["store_hits",]) == (manifest["store"]["looked_up"], manifest["store"]["served"])
    (level,) = manifest["service_levels"]
    assert found["service_level_attainment_ratio", "restaurant"] == level["attainment"] == 1
    assert found["goodput_restaurants_per_second", "restaurant"] == level["goodput"]["restaurants"]


def test_a_failed_run_keeps_the_last_success_and_its_figures(run, tmp_path):
    file = tmp_path / "reviews.prom"
    run.analyze("--metrics", file)
    before = values(file)
    assert run.analyze("--metrics", file, dump="nowhere.parquet").returncode == 66
    after = values(file)
    assert after["last_run_exit_code",] == 66
    assert after["last_run_timestamp_seconds",] > before["last_run_timestamp_seconds",]
    assert after["last_success_timestamp_seconds",] == before["last_success_timestamp_seconds",]
    assert {key: value for key, value in after.items() if key[0] in OF_A_COMMIT} == {
        key: value for key, value in before.items() if key[0] in OF_A_COMMIT
    }


def test_results_found_up_to_date_are_a_success_and_keep_the_figures(run, tmp_path):
    file = tmp_path / "reviews.prom"
    run.analyze("--metrics", file)
    before = values(file)
    assert run.analyze("--metrics", file, "--skip-exit-code", "99").returncode == 99
    after = values(file)
    assert after["last_run_exit_code",] == 99
    assert after["last_success_timestamp_seconds",] > before["last_success_timestamp_seconds",]
    assert after["tokens", "output"] == before["tokens", "output"] > 0


def test_the_first_file_after_a_failure_says_what_is_committed(run, tmp_path):
    run.analyze()
    run.analyze("--metrics", tmp_path / "new.prom", dump="nowhere.parquet")
    found = values(tmp_path / "new.prom")
    assert found["restaurants", "ok"] == 3
    assert 0 < found["last_success_timestamp_seconds",] <= found["last_run_timestamp_seconds",]


def test_a_job_that_never_succeeded_says_zero(run, tmp_path):
    run.analyze("--metrics", tmp_path / "new.prom", dump="nowhere.parquet")
    assert values(tmp_path / "new.prom")["last_success_timestamp_seconds",] == 0


@pytest.mark.parametrize("content", [b"", b"no metrics { at all", b"\xff\xfe", b'review_digest_reviews{output="elsewhere"} 5\n'])
def test_a_file_that_says_nothing_is_written_anew(run, tmp_path, content):
    file = tmp_path / "reviews.prom"
    file.write_bytes(content)
    done = run.analyze("--metrics", file)
    assert (done.returncode, values(file)["reviews",]) == (0, 9), done.stderr


def test_a_file_that_cannot_be_written_is_one_warning_and_the_run_commits(run, tmp_path):
    done = run.analyze("--metrics", tmp_path / "no-such-folder" / "reviews.prom")
    assert done.returncode == 0
    assert run.manifest()["status"] == "complete"
    (warning,) = [line for line in done.stderr.splitlines() if "warning: metrics" in line]
    assert "no-such-folder" in warning


def test_a_full_disk_leaves_the_file_as_it_was(run, tmp_path, monkeypatch):
    file = tmp_path / "reviews.prom"
    run.analyze("--metrics", file)
    before = file.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jobs.metrics.durable", SimpleNamespace(write=full))
    done = run.analyze("--metrics", file, output="other")
    assert (done.returncode, done.stderr.count("warning: metrics")) == (0, 1)
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*.prom*")) == ["reviews.prom"]


def test_without_the_package_there_is_one_warning_that_names_the_extra(run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    done = run.analyze("--metrics", tmp_path / "reviews.prom")
    assert done.returncode == 0
    assert done.stderr.count("warning: metrics") == 1
    assert "'metrics'" in done.stderr


def test_two_outputs_and_two_commands_on_one_machine_stay_apart(run, tmp_path):
    queries = tmp_path / "queries.parquet"
    pl.DataFrame({"query_id": ["q1"], "text": ["cheap noodles"]}).write_parquet(queries)
    run.analyze("--metrics", tmp_path / "a.prom", output="a")
    run.analyze("--metrics", tmp_path / "b.prom", output="b")
    jobs("expand-queries", queries, "--output", tmp_path / "a", "--metrics", tmp_path / "c.prom")
    series = [
        (sample.name, *sorted(sample.labels.items()))
        for name in "abc"
        for family in families(tmp_path / f"{name}.prom").values()
        for sample in family.samples
    ]
    assert len(series) == len(set(series))


def test_names_and_units_follow_the_conventions_and_each_is_explained(run, tmp_path):
    run.analyze("--metrics", tmp_path / "reviews.prom", "--slo", "ttft=2s", "--deadline", "r0=+2h")
    for name, family in families(tmp_path / "reviews.prom").items():
        assert family.type == "gauge", name
        assert family.documentation.endswith("."), name
    assert all(not name.endswith(("_total", "_count", "_sum", "_bucket", "_ms", "_minutes")) for name in GAUGES)
    assert values(tmp_path / "reviews.prom")["deadlines", "met"] == 1
