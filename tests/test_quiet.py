"""`--quiet`: nothing while all is well, else a line for each thing that a person should look at."""

import pytest
from nights import Machine
from test_cli import jobs
from test_incremental import reviews, text_of

from pipeline import api, results

QUIET = ["--quiet", "--tasks", "sentiment,summary"]


@pytest.fixture
def machine(model, patched, monkeypatch):
    """`machine(**engine)`: what the commands run on from then on, an engine without a model."""

    def use(**engine):
        made = lambda *_, **__: Machine(model, text=text_of, **engine)  # noqa: E731
        monkeypatch.setattr(api, "local_machine", made)
        monkeypatch.setattr("jobs.expand_queries.make_any_machine", made)

    use()
    return use


@pytest.fixture
def dump(tmp_path, write_dump):
    columns = ("restaurant_id", "review_id", "text", "rating", "created_at", "restaurant_name")
    return write_dump(tmp_path / "dump.parquet", [dict(zip(columns, row, strict=True)) for row in [*reviews(3), *reviews(2, "r1", 50)]])


def run(dump, tmp_path, *arguments):
    done = jobs("analyze", dump, "--output", tmp_path / "out", *arguments)
    return done.returncode, done.stdout, done.stderr.splitlines()


def test_a_run_that_goes_well_says_nothing_and_so_does_one_with_nothing_to_do(machine, dump, tmp_path):
    assert run(dump, tmp_path, *QUIET) == (0, "", [])
    assert (tmp_path / "out/current.json").exists()
    assert run(dump, tmp_path, *QUIET, "--skip-exit-code", "99") == (99, "", [])


def test_a_warning_is_a_line_and_the_stages_around_it_are_none(machine, dump, tmp_path):
    warned = "urgent or with a deadline, but not among the selected restaurants: nobody"
    assert run(dump, tmp_path, *QUIET, "--urgent", "nobody") == (0, "", [f"warning: {warned}"])


def test_without_it_the_same_warning_stands_among_the_stages(machine, dump, tmp_path):
    code, stdout, said = run(dump, tmp_path, *QUIET[1:], "--urgent", "nobody")
    assert code == 0
    assert stdout.splitlines()[-1].endswith("manifest.json")
    assert [line.split(" ", 2)[1:] for line in said if "nobody" in line] == [
        ["warning:", "urgent or with a deadline, but not among the selected restaurants: nobody"]
    ]
    assert any("writing" in line for line in said)


@pytest.mark.parametrize("quiet", [True, False])
def test_too_many_failed_restaurants_are_one_line_that_leads_to_them(machine, dump, tmp_path, quiet):
    machine(fail=lambda request: request.restaurant_id == "r1")
    code, stdout, said = run(dump, tmp_path, *QUIET[not quiet :])
    (line,) = [line for line in said if "failed or stayed pending" in line]
    assert (code, stdout == "") == (3, quiet)
    assert "warning: 1 of 2 restaurants failed or stayed pending (--max-failed 0), see status and error in " in line
    assert line.startswith("warning: ") == quiet
    assert line.endswith(str(results.committed(tmp_path / "out")[0]))
    assert run(dump, tmp_path, *QUIET, "--max-failed", "50%")[0] == 0


def test_an_error_is_one_line(machine, dump, tmp_path):
    with results.lock(tmp_path / "out"):
        code, stdout, (said,) = run(dump, tmp_path, *QUIET)
    assert (code, stdout) == (75, "")
    assert said.startswith("error: ")
    assert "held by another run" in said


def test_queries_are_expanded_as_quietly(machine, tmp_path, write_dump):
    queries = write_dump(tmp_path / "queries.parquet", [{"query_id": "a", "text": "ramen"}])
    machine(fail=lambda request: request.stage != "calibrate")
    done = jobs("expand-queries", queries, "--output", tmp_path / "out", "--quiet", "--max-failed", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = jobs("expand-queries", queries, "--output", tmp_path / "out", "--quiet")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("warning: 1 of 1 queries failed or stayed pending (--max-failed 0), ")
