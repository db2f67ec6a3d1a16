"""Events for a catalogue of data: what they say, and that a catalogue that is away, slow or misconfigured costs a warning at most."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import polars as pl
import pytest
from test_cli import jobs
from watching import lines, watched

from jobs import analyze as command
from jobs import lineage
from jobs.datasets import dataset_name
from pipeline.errors import Stopped

PARENT = "0198c0de-0000-7000-8000-000000000000"


class Catalogue(BaseHTTPRequestHandler):
    """Keeps what it is sent; /hang answers after the test."""

    def do_POST(self):
        self.server.events.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.headers.append(dict(self.headers))
        if self.path == "/hang":
            self.server.over.wait(30)
        self.send_response(400 if self.path == "/refuse" else 201)
        self.end_headers()

    def log_message(self, *_): ...


@pytest.fixture
def catalogue():
    pytest.importorskip("openlineage.client", reason="the extra 'lineage' is not installed")
    with ThreadingHTTPServer(("127.0.0.1", 0), Catalogue) as server:
        server.daemon_threads, server.events, server.headers, server.over = True, [], [], threading.Event()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.url = f"http://127.0.0.1:{server.server_port}"
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture
def run(tmp_path, model, patched):
    return watched(tmp_path, model, patched)


def test_a_committed_run_is_a_start_and_a_complete_of_one_run(run, catalogue):
    run.analyze("--date", "2026-11-20", OPENLINEAGE_URL=catalogue.url, OPENLINEAGE_NAMESPACE="kitchen")
    start, complete = catalogue.events
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert start["eventTime"] < complete["eventTime"]
    assert (start["job"]["namespace"], start["job"]["name"]) == ("kitchen", "review-digest.analyze")
    assert start["job"]["facets"]["jobType"]["processingType"] == "BATCH"
    assert start["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-11-20T00:00:00Z"
    assert start["run"]["facets"]["nominalTime"]["nominalEndTime"] == "2026-11-21T00:00:00Z"
    manifest = run.manifest("out/dt=2026-11-20")
    assert {"key": "run_id", "value": manifest["run_id"], "source": "REVIEW_DIGEST"} in complete["run"]["facets"]["tags"]["tags"]
    (read,), (written,) = complete["inputs"], complete["outputs"]
    assert (read["namespace"], read["name"]) == ("file", str(run.folder / "dump.parquet"))
    statistics = read["inputFacets"]["inputStatistics"]
    assert (statistics["rowCount"], statistics["fileCount"], statistics["size"]) == (10, 1, manifest["inputs"][0]["size"])
    assert (written["namespace"], written["name"]) == ("file", str(run.folder / "out"))
    assert written["facets"]["version"]["datasetVersion"] == manifest["run_id"]
    assert written["outputFacets"]["outputStatistics"]["rowCount"] == 3
    assert {"restaurant_id", "summary", "strengths"} <= {field["name"] for field in written["facets"]["schema"]["fields"]}


def test_nothing_new_is_complete_with_the_version_that_stands(run, catalogue):
    run.analyze()
    run.analyze(OPENLINEAGE_URL=catalogue.url)
    assert catalogue.events[-1]["eventType"] == "COMPLETE"
    assert catalogue.events[-1]["outputs"][0]["facets"]["version"]["datasetVersion"] == run.manifest()["run_id"]


def test_a_failed_run_is_a_fail_with_its_message_and_without_what_that_quotes(run, catalogue):
    path = run.folder / "headless.parquet"
    pl.DataFrame({"The soup was cold.": ["5"]}).write_parquet(path)
    assert run.analyze(dump=path, OPENLINEAGE_URL=catalogue.url).returncode == 65
    failed = catalogue.events[-1]
    assert failed["eventType"] == "FAIL"
    assert "no column" in failed["run"]["facets"]["errorMessage"]["message"]
    assert "soup" not in json.dumps(catalogue.events)


def test_a_stopped_run_is_an_abort(run, catalogue, monkeypatch):
    def stopped(**_):
        raise Stopped(15)

    monkeypatch.setattr(command, "run_analysis", stopped)
    assert run.analyze(OPENLINEAGE_URL=catalogue.url).returncode == 143
    assert [event["eventType"] for event in catalogue.events] == ["START", "ABORT"]


@pytest.mark.parametrize(("parent", "found"), [(f"ns/dag.task/{PARENT}", True), ("ns/dag.task/no-id", False), ("", False)])
def test_the_task_that_started_the_run_is_its_parent(run, catalogue, parent, found):
    run.analyze(OPENLINEAGE_URL=catalogue.url, OPENLINEAGE_PARENT_ID=parent)
    facets = catalogue.events[-1]["run"]["facets"]
    assert catalogue.events[-1]["eventType"] == "COMPLETE"
    assert (facets.get("parent", {}).get("run", {}).get("runId") == PARENT) is found


def test_expanded_queries_are_a_job_of_their_own(run, catalogue):
    path = run.folder / "queries.parquet"
    pl.DataFrame({"query_id": ["q1"], "text": ["cheap noodles"]}).write_parquet(path)
    jobs("expand-queries", path, "--output", run.folder / "expanded", OPENLINEAGE_URL=catalogue.url)
    assert [event["job"]["name"] for event in catalogue.events] == ["review-digest.expand-queries"] * 2
    assert catalogue.events[-1]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 1


def test_the_clients_own_file_configures_it(run, catalogue):
    file = run.folder / "lineage.yml"
    file.write_text(f"transport:\n  type: http\n  url: {catalogue.url}\n  auth:\n    type: api_key\n    apiKey: hush\n")
    done = run.analyze(OPENLINEAGE_CONFIG=str(file))
    assert [event["eventType"] for event in catalogue.events] == ["START", "COMPLETE"]
    assert catalogue.headers[-1]["Authorization"] == "Bearer hush"
    assert "hush" not in done.stderr + json.dumps(catalogue.events)


def assert_committed_with_one_warning(run, done, *words):
    assert done.returncode == 0, done.stderr
    assert run.manifest()["status"] == "complete"
    (warning,) = [line for line in lines(done) if line["event"] == "warning"]
    for word in ("lineage", *words):
        assert word in warning["message"]


def test_an_endpoint_that_hangs_delays_the_end_by_no_more_than_the_wait(run, catalogue, monkeypatch):
    monkeypatch.setattr(lineage, "WAIT_S", 0.5)
    began = time.monotonic()
    done = run.analyze("--log-format", "json", OPENLINEAGE_URL=catalogue.url, OPENLINEAGE_ENDPOINT="hang")
    assert_committed_with_one_warning(run, done, "did not answer")
    ended = next(line for line in lines(done) if line["event"] == "committed")
    assert time.monotonic() - began < 20
    assert ended["exit_code"] == 0


def test_an_endpoint_that_refuses_is_one_warning(run, catalogue):
    done = run.analyze("--log-format", "json", OPENLINEAGE_URL=catalogue.url, OPENLINEAGE_ENDPOINT="refuse", OPENLINEAGE_API_KEY="hush")
    assert_committed_with_one_warning(run, done, "not accepted")
    assert "hush" not in done.stderr
    assert len(catalogue.events) == 2


def test_an_address_where_nobody_listens_is_one_warning(run, catalogue, monkeypatch):
    monkeypatch.setattr(lineage, "WAIT_S", 0.5)
    assert_committed_with_one_warning(run, run.analyze("--log-format", "json", OPENLINEAGE_URL="http://127.0.0.1:1"))


def test_an_address_that_is_none_is_one_warning(run, catalogue):
    assert_committed_with_one_warning(run, run.analyze("--log-format", "json", OPENLINEAGE_URL="nowhere"), "set up")


def test_without_the_package_there_is_one_warning_that_names_the_extra(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    done = run.analyze("--log-format", "json", OPENLINEAGE_URL="http://127.0.0.1:1")
    assert_committed_with_one_warning(run, done, "'lineage'")


def test_without_a_configuration_nothing_is_sent(run):
    assert "lineage" not in run.analyze().stderr
    assert not [thread for thread in threading.enumerate() if thread.name == "lineage" and not thread.daemon]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"OPENLINEAGE_URL": "http://127.0.0.1:1"}, True),
        ({"OPENLINEAGE_URL": "http://127.0.0.1:1", "OPENLINEAGE_DISABLED": " True"}, False),
        ({"OPENLINEAGE__TRANSPORT__TYPE": "http"}, True),
        ({"OPENLINEAGE_CONFIG": "no-such-file.yml"}, False),
        ({"OPENLINEAGE_CONFIG": __file__}, True),
    ],
)
def test_it_is_configured_where_the_client_would_find_a_place(environment, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lineage.configured(environment) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/data/reviews.parquet", ("file", "/data/reviews.parquet")),
        ("/data/dumps/", ("file", "/data/dumps")),
        ("/data/dumps/dt=*/part-?.parquet", ("file", "/data/dumps")),
        ("/data/*/x.parquet", ("file", "/data")),
        ("file:///data/x.parquet", ("file", "/data/x.parquet")),
        ("s3://bucket/nightly/*.parquet", ("s3://bucket", "nightly")),
        ("S3A://bucket/nightly", ("s3://bucket", "nightly")),
        ("gs://bucket", ("gs://bucket", "/")),
        ("s3://me:hush@bucket/x.parquet", ("s3://bucket", "x.parquet")),
        ("https://host/x.parquet?X-Amz-Signature=hush#hush", ("https://host", "x.parquet")),
        ("abfss://box@account.dfs.core.windows.net/x", ("abfss://box@account.dfs.core.windows.net", "x")),
    ],
)
def test_names_in_the_catalogue_are_those_of_places_and_hold_no_secret(given, expected):
    assert dataset_name(given) == expected


def test_a_relative_name_is_the_same_dataset_as_its_absolute_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert dataset_name("dumps/*.parquet") == ("file", str(tmp_path / "dumps"))
