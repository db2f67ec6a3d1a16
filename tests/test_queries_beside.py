"""Search queries that are expanded in the same run as a dump's restaurants."""

import polars as pl
import pytest
from deterministic_engine import default_text
from nights import Machine, read, result
from test_analysis import SCHEMA, Silent, rows
from test_query_expansion import FOUND, SAID

from pipeline.analysis import analyze
from pipeline.asked_queries import TASK
from pipeline.job import Job
from pipeline.limits import Limits
from pipeline.order import ORDERS

QUERIES = [("r0", "ramen"), ("q1", "quiet cafe"), ("q2", None)]
"""The first has the name of a restaurant."""


@pytest.fixture
def run(tmp_path, model, patched):
    def run(made, queries=QUERIES, order="restaurant", output="out", machine=None, **job):
        pl.DataFrame(made, schema=SCHEMA, orient="row").write_parquet(tmp_path / "dump.parquet")
        pl.DataFrame(queries, schema={"query_id": pl.String, "text": pl.String}, orient="row").write_parquet(tmp_path / "queries.parquet")
        machine = machine or Machine(model, text=lambda request: SAID.get(request.stage) or default_text(request))
        given = [str(tmp_path / "queries.parquet")] if queries else []
        job = Job([str(tmp_path / "dump.parquet")], tmp_path / output, queries=given, **{"store": tmp_path / "store", **job})
        done = analyze(job, ORDERS[order], machine, Silent())
        return done, done.manifest_path.parent, machine

    return run


def expansions(folder):
    return dict(pl.read_parquet(folder / "queries.parquet").select("query_id", "expansions").rows())


def test_queries_land_beside_the_restaurants_whose_results_they_do_not_change(run):
    done, folder, _ = run(rows([3, 1]))
    assert expansions(folder) == {"r0": FOUND, "q1": FOUND}
    assert pl.read_parquet(folder / "query_rejects.parquet").select("query_id", "reason").rows() == [("q2", "no text")]
    _, alone, _ = run(rows([3, 1]), queries=None, output="alone", store=None)
    assert not (alone / "queries.parquet").exists()
    with_queries, without = result(read(folder)), result(read(alone))
    assert all(with_queries[name].equals(without[name]) for name in without)
    counts = done.manifest["counts"]
    assert (counts["queries"], counts["expansions"], counts["query_rejects"], counts["selected"]) == ({"ok": 2}, 8, 1, 4)
    assert len(done.manifest["inputs"]) == 2


def test_their_requests_go_first_in_the_order_by_task_and_stand_among_the_others(run):
    _, folder, machine = run(rows([3, 1]), order="task")
    tasks = [request.task for request in machine.submitted()]
    assert set(tasks[: tasks.count(TASK)]) == {TASK}
    requests = pl.read_parquet(folder / "requests.parquet")
    assert requests.filter(task=TASK).height == tasks.count(TASK) == 10
    assert requests["position"].drop_nulls().n_unique() == len(machine.submitted())


def test_unchanged_queries_are_carried_over_and_a_new_one_is_asked_alone(run):
    first, _, _ = run(rows([3, 1]))
    again, _, machine = run(rows([3, 1]))
    assert (again.nothing_new, again.manifest_path, machine.loaded) == (True, first.manifest_path, 0)
    _, folder, machine = run(rows([3, 1]), queries=[*QUERIES, ("q3", "late tacos")])
    assert {(request.task, request.restaurant_id) for request in machine.submitted()} == {(TASK, "q3")}
    assert set(expansions(folder)) == {"r0", "q1", "q3"}


def test_an_update_keeps_the_other_queries_and_a_run_without_removes_them(run):
    run(rows([3, 1]))
    _, folder, _ = run(rows([3, 1]), queries=[("q9", "oysters")], update=True)
    assert set(expansions(folder)) == {"r0", "q1", "q9"}
    _, folder, _ = run(rows([3, 1]), queries=[("q9", "oysters")])
    assert set(expansions(folder)) == {"q9"}


def test_a_run_that_ends_early_leaves_queries_pending_and_every_restaurant_with_a_row(run):
    done, folder, _ = run(rows([3, 1]), limits=Limits(max_prompt_tokens=200), tasks=("summary",), order="task")
    assert set(pl.read_parquet(folder / "queries.parquet")["status"]) == {"pending"}
    assert pl.read_parquet(folder / "restaurants.parquet")["status"].to_list() == ["pending", "pending"]
    assert done.manifest["counts"]["missing"] == 4
    done, folder, _ = run(rows([3, 1]), tasks=("summary",))
    assert done.manifest["counts"]["missing"] == 0


def test_queries_are_expanded_where_the_dump_has_not_changed_or_is_empty(run):
    run(rows([3, 1]), queries=None)
    _, folder, machine = run(rows([3, 1]))
    assert {request.task for request in machine.submitted()} == {TASK}
    assert set(expansions(folder)) == {"r0", "q1"}
    _, folder, _ = run([], output="empty", store=None)
    assert expansions(folder) == {"r0": FOUND, "q1": FOUND}
