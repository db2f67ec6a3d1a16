"""Orders side by side: figures, trials on one engine, past runs in other orders, and the command."""

import json
import random
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from clocked_engine import ClockedMachine
from test_analysis import Silent

from pipeline import known_costs
from pipeline.analysis import analyze
from pipeline.costs import CostModel, assumed
from pipeline.errors import BadConfiguration, BadData, NoInput
from pipeline.job import Job, Stop
from pipeline.machine import LocalMachine
from pipeline.order import ORDERS
from pipeline.order_figures import differing, figures, middle, most_overtaken, sizes
from pipeline.order_files import write
from pipeline.order_plot import draw_orders
from pipeline.order_table import page
from pipeline.order_trials import Course, Setting, rotated
from pipeline.orders_compared import measure, replay
from pipeline.priorities import Priorities
from pipeline.records import Answer, Restaurant
from pipeline.runtime import Runtime
from pipeline.schemas import REQUESTS as ASKED
from pipeline.schemas import RESTAURANTS as ROWS
from pipeline.schemas import REVIEWS, frame_of
from pipeline.service_levels import ServiceLevel
from pipeline.simulation.deduced import Row, deduced
from pipeline.simulation.drawn import Drawn
from pipeline.simulation.loop import Simulation
from pipeline.simulation.past_run import read_past_run
from pipeline.simulation.shapes import kv_blocks, shape
from pipeline.simulation.workload import Bundle, Bundles
from pipeline.skewed import Cut
from pipeline.tables import Results
from pipeline.timeline import REQUESTS, RESTAURANTS, Timeline, measured_timeline, table

ROOT = Path(__file__).parent.parent
OPTIONS = {"max_num_seqs": 8, "max_num_batched_tokens": 256}
WORDS = "soup noodles waiter slow lovely warm rice table spicy cold cheap queue friendly fresh late kind burnt quiet".split()  # noqa: SIM905


def rows(sizes, seed=1):
    """Restaurants of so many reviews, in shuffled order."""
    draw = random.Random(seed)
    made = [
        {"restaurant_id": f"r{place:02}", "text": " ".join(draw.choices(WORDS, k=draw.randint(2, 30))) + f" {place}-{i}"}
        for place, size in enumerate(sizes)
        for i in range(size)
    ]
    draw.shuffle(made)
    return made


SKEWED = [2, 30, 3, 22, 2, 5, 2, 12, 3, 40, 2, 6]


def settings(*orders):
    return [Setting(ORDERS[name], "continuous") for name in orders]


def timeline(*restaurants):
    """Restaurants as (id, arrival, cost, started, finished_s, compared_s), a request of 10 tokens each. What is not said went well."""
    whole = [(*one, *(["ok"] if len(one) < len(RESTAURANTS) else [])) for one in restaurants]
    columns = dict(zip(RESTAURANTS, zip(*whole, strict=True), strict=True))
    asked = {name: [] for name in REQUESTS}
    for one in restaurants:
        for name, value in zip(REQUESTS, (one[1], "sentiment", "label", 10, 4, 1, (one[4] or 0) / 2, one[4], "ok"), strict=True):
            asked[name].append(value)
    return Timeline(table(columns, RESTAURANTS), table(asked, REQUESTS), max(one[4] or one[5] or 0.0 for one in restaurants))


THREE = timeline(("a", 0, 90, 2, 9.0, 12.0), ("b", 1, 10, 0, 1.0, None), ("c", 2, 20, 1, 3.0, 4.0))


def test_deadlines_of_restaurants_that_are_there_are_met_or_missed():
    assert figures(THREE)["deadlines"] is None
    found = figures(replace(THREE, due_s={"a": 8.0, "b": 2.0, "unknown": 1.0}))
    assert found["deadlines"] == {"met": 1, "missed": 1, "missed_by": ["a"]}


def test_a_restaurant_of_which_only_the_comparison_was_asked_does_not_count_as_complete_at_once():
    both = timeline(("a", 0, 90, 0, 9.0, 12.0), ("b", 1, 0, 1, None, 4.0))
    found = figures(both)
    assert found["finished"]["mean"] == 9.0
    assert found["compared"]["mean"] == 8.0
    (level,) = figures(both, [ServiceLevel("restaurant", 10.0)])["service_levels"]
    assert (level["met"], level["number"]) == (1, 1)
    only = figures(timeline(("b", 1, 0, 0, None, 4.0)))
    assert only["finished"] == {"mean": None, "median": None, "p95": None}


def test_what_failed_has_met_neither_its_service_level_nor_its_deadline():
    failed = timeline(("a", 0, 90, 0, 2.0, None, "failed"), ("b", 1, 10, 1, 1.0, None, "partial"))
    found = figures(replace(failed, due_s={"a": 8.0, "b": 8.0}), [ServiceLevel("restaurant", 3.0)])
    assert found["deadlines"] == {"met": 1, "missed": 1, "missed_by": ["a"]}
    assert (found["service_levels"][0]["met"], found["service_levels"][0]["number"]) == (1, 2)


def test_a_restaurant_of_which_only_the_comparison_was_not_reached_is_complete(tmp_path):
    errors = {
        "a": "comparison: not reached, the run was to stop",
        "b": "comparison: x; summary: not reached, the run was to stop",
        "c": None,
        "d": "comparison: not reached, the run was to stop; summary: refused by the engine: too long",
    }
    places = [
        {"restaurant_id": name, "status": "pending" if why else "ok", "error": why, "finished_s": 1.0} for name, why in errors.items()
    ]
    tables = Results(frame_of(places, ROWS), *(pl.DataFrame(schema=one) for one in (REVIEWS, {}, ASKED)))
    bundles = Bundles([Bundle(Restaurant(name, (), arrival=place), ()) for place, name in enumerate(errors)])
    assert measured_timeline(tables, bundles, None).restaurants["status"].to_list() == ["partial", "pending", "ok", "partial"]


def test_a_restaurant_that_the_run_left_pending_is_not_complete():
    found = figures(timeline(("a", 0, 90, 0, 9.0, None), ("b", 1, 10, 1, 1.0, None, "pending")))
    assert (found["restaurants"], found["finished"]["mean"]) == (2, 9.0)
    assert found["by_size"] == {"small": None, "middle": 9.0, "large": None}


def test_the_figures_of_a_timeline():
    found = figures(THREE, [ServiceLevel("restaurant", 3.0)])
    assert found["seconds"] == 9.0
    assert found["finished"] == {"mean": 4.333, "median": 3.0, "p95": 8.4}
    assert found["by_size"] == {"small": 1.0, "middle": 3.0, "large": 9.0}
    assert found["compared"]["mean"] == 5.667
    assert (found["computed_tokens"], found["cached_share"], found["output_tokens"]) == (18, 0.4, 3)
    assert found["first_token"] == {"sentiment": {"small": 0.5, "middle": 1.5, "large": 4.5}}
    assert found["service_levels"][0]["met"] == 2


def test_overtaking_is_counted_in_tokens_against_the_order_of_arrival():
    assert most_overtaken(THREE.restaurants) == {"restaurant_id": "a", "tokens": 30}
    in_order = THREE.restaurants.with_columns(started="arrival")
    assert most_overtaken(in_order) is None


def test_sizes_are_thirds_by_cost():
    assert dict(sizes(THREE.restaurants).iter_rows()) == {1: "small", 2: "middle", 0: "large"}


def test_the_middle_of_several_runs_is_each_numbers_median():
    runs = [{"seconds": s, "finished": {"mean": m}, "overtaken": None} for s, m in ((3.0, 1.0), (1.0, 9.0), (2.0, 4.0))]
    assert middle(runs) == {"seconds": 2.0, "finished": {"mean": 4.0}, "overtaken": None}


def test_what_names_restaurants_is_all_of_one_run():
    runs = [
        {"seconds": seconds, "overtaken": {"restaurant_id": name, "tokens": tokens}, "deadlines": {"met": met, "missed": 10 - met}}
        for seconds, name, tokens, met in ((1.0, "a", 100, 1), (2.0, "b", 300, 2), (3.0, "c", 200, 9))
    ]
    assert middle(runs) == runs[1]
    assert middle(runs[:2])["deadlines"] == {"met": 1, "missed": 9}


def test_answers_that_differ_are_counted_by_what_they_say():
    one = {"a": Answer("a", "x"), "b": Answer("b", logprobs={1: -1.0}), "c": Answer("c", "y"), "d": Answer("d", "z")}
    other = {"a": Answer("a", "x", queue_s=3.0), "b": Answer("b", logprobs={1: -1.01}), "c": Answer("c", "Y"), "e": Answer("e")}
    assert differing(one, other) == {"compared": 3, "changed": 2, "elsewhere": 2}
    assert differing(one, {"b": Answer("b", logprobs={1: -1.0005})})["changed"] == 0


def test_every_setting_runs_as_often_and_every_second_round_goes_backwards():
    names = [one.name for one in rotated(settings("restaurant", "fifo", "task"), 4)]
    assert names[:6] == ["restaurant", "fifo", "task", "task", "fifo", "restaurant"]  # each at the same place on average
    assert names[6:] == ["fifo", "task", "restaurant", "restaurant", "task", "fifo"]


@pytest.fixture
def machine(model, patched):
    return ClockedMachine(model, patched, **OPTIONS)


@pytest.fixture
def measured(tmp_path, machine, write_dump):
    others = [{**row, "restaurant_id": f"other-{row['restaurant_id']}"} for row in rows([9, 4, 20], seed=2)]
    dump, other = write_dump(tmp_path / "dump.parquet", rows(SKEWED)), write_dump(tmp_path / "other.parquet", others)

    def run(orders, repeat=1, fit_on=(), sizes=None, cut=None, **priorities):
        inputs = [write_dump(tmp_path / "sized.parquet", rows(sizes))] if sizes else [dump]
        job = Job(inputs, tmp_path / "unused", priorities=Priorities(**priorities))
        levels = [ServiceLevel("restaurant", 60.0)]
        fit = {"other": [other], "same": [dump]}.get(fit_on, [])
        return measure(job, fit, settings(*orders), repeat, Runtime(machine), levels, Silent(), Stop(), cut)

    return run


def test_the_prediction_from_other_orders_is_what_an_engine_by_the_same_rules_takes(measured):
    orders = measured(["restaurant", "fifo", "task", "prompt"]).found["orders"]
    for name, one in orders.items():
        assert abs(one["total_error"]) < 0.03, name
        assert one["predicted"]["finished"]["mean"] == pytest.approx(one["measured"]["finished"]["mean"], rel=0.05), name
        assert one["predicted"]["computed_tokens"] == pytest.approx(one["measured"]["computed_tokens"], rel=0.02), name
        assert one["rates"]["prefill_s"] == pytest.approx(0.002, rel=0.05)
    assert orders["restaurant"]["measured"]["finished"]["mean"] < 0.8 * orders["fifo"]["measured"]["finished"]["mean"]


@pytest.mark.parametrize("orders", [["restaurant", "fifo"], ["fifo"]])
def test_rates_fitted_on_other_restaurants_predict_a_single_order_too(measured, orders):
    found = measured(orders, fit_on="other").found
    assert found["orders"]["fifo"]["fitted_on"] == "other restaurants, asked first"
    assert all(abs(one["total_error"]) < 0.03 for one in found["orders"].values())


def test_rates_fitted_on_other_restaurants_know_how_long_answers_are(measured, monkeypatch):
    rates, run = [], Course.run
    monkeypatch.setattr(Course, "run", lambda self, *rest: (rates.append(self.rates), run(self, *rest))[1])
    measured(["fifo"], fit_on="other")
    assert [one.answer_tokens("summary", "part") > 10 for one in rates] == [True, True]
    assert rates[1].prefill_s == pytest.approx(0.002, rel=0.05)


def test_deadlines_of_restaurants_that_are_not_there_are_warned_of(measured, monkeypatch):
    said = []
    monkeypatch.setattr(Silent, "warn", lambda self, what: said.append(what))
    measured(["fifo"], deadlines={"r01": datetime.now(UTC), "nobody\x1b": datetime.now(UTC)})
    assert [line for line in said if "not among" in line] == [
        "urgent or with a deadline, but not among the selected restaurants: nobody\\x1b"
    ]


def test_a_prediction_is_not_fitted_on_the_restaurants_that_it_is_held_against(measured):
    with pytest.raises(BadData, match="holds no restaurant that is not compared"):
        measured(["fifo"], fit_on="same")


def test_a_cut_of_a_dump_is_compared_and_fitted_on_others_of_it(measured):
    found = measured(["restaurant", "fifo"], fit_on="same", cut=Cut(8, seed=1, least=2, most=20)).found
    assert found["about"].startswith("8 restaurants, ")
    assert all(one["measured"]["restaurants"] == 8 and abs(one["total_error"]) < 0.05 for one in found["orders"].values())


def test_deadlines_count_in_every_pass_anew(measured):
    half = timedelta(seconds=measured(["fifo"]).found["orders"]["fifo"]["measured"]["seconds"] / 2)
    found = measured(["fifo"], repeat=2, deadlines={f"r{i:02}": datetime.now(UTC) + half for i in range(len(SKEWED))})
    one, other = (run["deadlines"] for run in found.found["orders"]["fifo"]["runs"])
    assert one == other
    assert 0 < one["met"] < len(SKEWED)


def test_one_order_alone_has_nothing_to_be_predicted_from(measured):
    found = measured(["fifo"]).found
    assert "predicted" not in found["orders"]["fifo"]
    assert "prediction" not in found


def test_every_run_asks_everything_anew_and_answers_are_compared(measured, machine):
    found = measured(["restaurant", "fifo"], repeat=2).found
    runs = [run for one in found["orders"].values() for run in one["runs"]]
    assert len(runs) == 4
    assert len({run["requests"] for run in runs}) == 1
    assert runs[0] == runs[1]  # nothing of the run before was left in cache or store
    told = {"than": "restaurant", "compared": runs[0]["requests"], "changed": 0, "elsewhere": 0}
    assert [one["answers"] for one in found["orders"].values()] == [told, told]  # the first order's repetition is held against it, too


def test_the_table_shows_measured_and_predicted_beside_each_other(measured):
    said = page(measured(["restaurant", "fifo"]).found)
    lines = said.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(("restaurant  ", "fifo  ", "  predicted"))][:4] == [
        "restaurant",
        "predicted",
        "fifo",
        "predicted",
    ]
    for word in ("service level", "strengths, small", "0 of ", "rates from the other orders", "requests/min in time", "tokens/min in time"):
        assert word in said


def test_the_table_names_the_restaurant_that_was_overtaken_most_and_its_name_cannot_act_on_a_terminal():
    named = replace(THREE, restaurants=THREE.restaurants.with_columns(pl.col("restaurant_id").replace("a", "a\x1b[2J" + 40 * "x")))
    said = page({"about": "", "orders": {"longest": {"measured": figures(named)}}})
    assert "a\\x1b[2Jxxx" in said
    assert "\x1b" not in said
    assert 30 * "x" not in said


def test_figures_and_a_picture_are_written(measured, tmp_path):
    path = write(tmp_path / "made" / "here", measured(["restaurant", "fifo"]), "title")
    assert json.loads(path.read_text())["orders"].keys() == {"restaurant", "fifo"}
    assert path.with_name("compare.png").read_bytes().startswith(b"\x89PNG")
    rows = pl.read_parquet(path.with_name("compare.parquet"))
    assert set(rows.select("order", "measured").rows()) >= {("restaurant", True), ("fifo", True)}
    assert rows.group_by("order", "measured").agg(pl.col("restaurant_id").n_unique() == pl.len())["restaurant_id"].all()
    means = json.loads(path.read_text())["orders"]["fifo"]["measured"]["finished"]
    assert rows.filter("measured", order="fifo")["finished_s"].mean() == pytest.approx(means["mean"], abs=0.01)


def test_a_picture_of_nothing_is_a_picture():
    assert draw_orders("none", {}, {"fifo": pl.Series([], dtype=pl.Float64)}).startswith(b"\x89PNG")


@pytest.fixture
def past(tmp_path, machine, write_dump):
    """A committed run on that engine; `past(order)` is its output folder."""

    def run(order):
        dump = write_dump(tmp_path / "dump.parquet", rows(SKEWED))
        machine.made.start_over("continuous")
        analyze(Job([dump], tmp_path / order), ORDERS[order], machine, Silent())
        return tmp_path / order

    return run


def test_a_past_run_in_its_own_order_is_what_it_was_and_in_another_what_that_takes(past, machine):
    by_cost, by_arrival = (read_past_run(past(order), print) for order in ("restaurant", "fifo"))
    engine = shape(by_cost.options, "continuous", None)
    found = replay(by_cost, [ORDERS["restaurant"], ORDERS["fifo"]], engine, [], Silent(), Stop()).found["orders"]
    own, other = found["restaurant"], found["fifo"]
    assert own["predicted"]["seconds"] == pytest.approx(own["measured"]["seconds"])
    assert own["predicted"]["computed_tokens"] == pytest.approx(own["measured"]["computed_tokens"], rel=0.03)
    assert own["predicted"]["finished"]["mean"] == pytest.approx(own["measured"]["finished"]["mean"], rel=0.1)
    really = figures(by_arrival.timeline)
    assert other["predicted"]["seconds"] == pytest.approx(really["seconds"], rel=0.05)
    assert other["predicted"]["finished"]["mean"] == pytest.approx(really["finished"]["mean"], rel=0.1)


def test_restaurants_of_a_past_run_arrive_as_in_its_dump_or_by_id_where_that_is_gone(past, tmp_path):
    output, said = past("fifo"), []
    arrived = [one.restaurant_id for one in read_past_run(output, said.append).workload.restaurants]
    assert arrived == list(dict.fromkeys(row["restaurant_id"] for row in rows(SKEWED)))
    assert not said
    (tmp_path / "dump.parquet").unlink()
    assert [one.restaurant_id for one in read_past_run(output, said.append).workload.restaurants] == sorted(arrived)
    assert "arrive by id" in said[0]
    gone = read_past_run(output, said.append)
    found = replay(gone, [ORDERS["fifo"]], shape(gone.options, "continuous", None), [], Silent(), Stop()).found
    assert "fifo goes by restaurant_id" in found["about"]


def test_a_folder_without_a_run_or_with_one_that_asked_nothing_is_refused(past, tmp_path):
    with pytest.raises(NoInput, match="no committed run"):
        read_past_run(tmp_path, print)
    output = past("fifo")
    requests = next((output / "current").resolve().glob("requests.parquet"))
    pl.read_parquet(requests).with_columns(reused=pl.lit(True)).write_parquet(requests)
    with pytest.raises(BadData, match="asked nothing"):
        read_past_run(output, print)


def test_what_prompts_shared_is_deduced_from_lengths_and_hits():
    found = deduced(
        [
            Row("a", "sentiment", "label", 130, 96, 1),
            Row("a", "sentiment", "label", 150, 96, 1),
            Row("a", "summary", "part", 300, 32, 50),
            Row("a", "strengths", "find", 290, 256, 20),
            Row("a", "strengths", "praise", 159, 128, 1),
            Row("b", "sentiment", "label", 200, 96, 1),
            Row("b", "strengths", "praise", 209, 192, 1),
        ]
    )
    assert sum(tokens for _, tokens in found[4].shared) == 150  # the question about the same review's sentiment, as a whole
    assert found[4].shared == found[1].shared != found[6].shared
    assert found[0].shared == found[1].shared[:1]
    assert found[2].shared == found[3].shared
    assert found[2].common == 256


def test_blocks_follow_from_a_models_configuration(tmp_path):
    config = {"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 576, "dtype": "bfloat16"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert kv_blocks(tmp_path, {"kv_cache_memory_bytes": 2 << 30, "block_size": 32, "dtype": "float32"}) == 1455
    assert kv_blocks(tmp_path, {"block_size": 32}) is None
    assert kv_blocks(None, {"kv_cache_memory_bytes": 2 << 30}) is None


def test_a_cache_that_could_not_hold_the_longest_request_is_not_simulated():
    options = {"max_num_seqs": 8, "max_num_batched_tokens": 256, "block_size": 32, "max_model_len": 640}
    assert shape(options, "continuous", 20).blocks == 20
    with pytest.raises(BadConfiguration, match="608 tokens cannot hold max_model_len=640"):
        shape(options, "continuous", 19)


def test_an_engine_that_could_not_start_is_not_simulated():
    with pytest.raises(BadConfiguration, match="max_num_batched_tokens=64 is less than max_num_seqs=128"):
        shape({"max_num_seqs": 128, "max_num_batched_tokens": 64}, "continuous", None)


def test_without_a_prefix_cache_nothing_is_simulated_to_come_from_it():
    options = {"max_num_seqs": 8, "max_num_batched_tokens": 256, "block_size": 32}
    for caches in (True, False):
        engine = shape(options | {"enable_prefix_caching": caches}, "continuous", None)
        cached = Simulation(Drawn(5), ORDERS["restaurant"], engine, assumed("cpu")).run().requests["cached_tokens"].sum()
        assert bool(cached) == caches


def test_a_past_run_is_simulated_with_the_settings_that_it_had(past):
    output = past("fifo")
    manifest = output / "current" / "manifest.json"
    found = json.loads(manifest.read_text())
    found["settings"] |= {"engine_options": {"max_num_seqs": 3, "max_num_batched_tokens": 48, "max_model_len": 2048}, "kv_blocks": 77}
    manifest.write_text(json.dumps(found))
    run = read_past_run(output, print)
    engine = shape(run.options, run.feed, run.kv_blocks)
    assert (engine.max_num_seqs, engine.max_num_batched_tokens, engine.blocks) == (3, 48, 77)


def test_deadlines_of_a_past_run_count_from_its_first_request(tmp_path, machine, write_dump):
    dump = write_dump(tmp_path / "dump.parquet", rows(SKEWED))
    machine.made.start_over("continuous")
    late = {"r09": datetime.now(UTC) + timedelta(seconds=5)}  # the largest, which `restaurant` takes last
    analyze(Job([dump], tmp_path / "out", priorities=Priorities(deadlines=late)), ORDERS["restaurant"], machine, Silent())
    run = read_past_run(tmp_path / "out", print)
    assert run.priorities.deadlines == late
    run = replace(run, began=run.began - timedelta(days=1), priorities=Priorities(deadlines={"r09": late["r09"] - timedelta(days=1)}))
    orders = [ORDERS["restaurant"], ORDERS["hybrid"]]
    found = replay(run, orders, shape(run.options, "continuous", None), [], Silent(), Stop()).found["orders"]
    assert found["restaurant"]["measured"]["deadlines"]["missed_by"] == ["r09"]
    assert found["restaurant"]["predicted"]["deadlines"]["missed_by"] == ["r09"]
    assert found["hybrid"]["predicted"]["finished"] != found["restaurant"]["predicted"]["finished"]
    given = Priorities(deadlines={"r09": datetime.now(UTC) + timedelta(hours=1)})
    in_an_hour = replace(run, began=datetime.now(UTC) - timedelta(hours=8), priorities=given)
    found = replay(in_an_hour, orders, shape(run.options, "continuous", None), [], Silent(), Stop())
    assert found.measured["restaurant"].due_s["r09"] == pytest.approx(9 * 3600, abs=60)  # its own: from its first request
    found = replay(in_an_hour, orders, shape(run.options, "continuous", None), [], Silent(), Stop(), given)
    assert found.measured["restaurant"].due_s["r09"] == pytest.approx(3600, abs=60)  # one that is given: from now


def test_what_simulating_takes_shortens_no_deadline(past, monkeypatch):
    run, simulated = read_past_run(past("fifo"), print), Simulation.run
    monkeypatch.setattr(Simulation, "run", lambda self: (time.sleep(0.5), simulated(self))[1])
    due = Priorities(deadlines={"r09": datetime.now(UTC) + timedelta(hours=1)})
    orders = [ORDERS["fifo"], ORDERS["hybrid"]]
    found = replay(run, orders, shape(run.options, "continuous", None), [], Silent(), Stop(), due)
    assert found.predicted["fifo"].due_s["r09"] == pytest.approx(found.predicted["hybrid"].due_s["r09"], abs=0.2)
    assert found.predicted["fifo"].due_s["r09"] > 3600 - 0.3


def test_a_past_run_is_simulated_with_the_lengths_of_its_own_answers(past):
    run = read_past_run(past("fifo"), print)
    came = run.timeline.requests.filter(pl.col("stage") == "part")["output_tokens"].mean()
    assert run.rates.answer_tokens("summary", "part") == pytest.approx(came)
    assert came > 1


def test_an_order_is_brought_to_its_own_seconds_under_its_own_bound(past):
    run = read_past_run(past("restaurant"), print)
    orders = [ORDERS["restaurant"], ORDERS["fifo"]]
    engine = shape(run.options, "continuous", None)
    free, bound = (replay(run, orders, engine, [], Silent(), Stop(), one).found for one in (None, Priorities(max_overtake=0)))
    assert free["prediction"] == bound["prediction"]
    assert bound["orders"]["restaurant"]["predicted"]["finished"] == bound["orders"]["fifo"]["predicted"]["finished"]


# The command


def jobs(*arguments):
    command = [sys.executable, "-m", "jobs", "compare", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["reviews.parquet", "--simulate-only"],
        ["--restaurants", "5", "--feed", "continuous", "--feed", "generate"],
        ["--restaurants", "5", "--order", "magic"],
    ],
)
def test_usage_errors(arguments):
    done = jobs(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--engine-option", "max_num_seqs=64"], ["--feed", "generate"], ["--tasks", "sentiment"], ["--repeat", "2"], ["--seed", "1"]],
)
def test_options_that_would_have_no_effect_on_a_past_run_are_refused(past, arguments):
    done = jobs(past("fifo"), *arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert f"{arguments[0]}: has no effect" in done.stderr


def test_a_comparison_that_cannot_be_written_is_told_all_the_same(tmp_path):
    options = ["--restaurants", 5, "--order", "fifo", "--device", "cpu"]
    (tmp_path / "file").write_text("")
    done = jobs(*options, "--output", tmp_path / "file")
    assert (done.returncode, done.stdout) == (2, "")
    done = jobs(*options, "--output", tmp_path / "file" / "below")
    assert done.returncode == 75
    assert done.stdout.startswith("5 drawn restaurants")


def test_restaurants_are_not_drawn_from_a_past_run(past):
    done = jobs(past("fifo"), "--restaurants", 5)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr


def test_drawn_restaurants_are_compared_without_an_engine(tmp_path):
    done = jobs("--restaurants", 30, "--order", "restaurant", "--order", "fifo", "--device", "cpu", "--json", "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["orders"]
    assert found["restaurant"]["predicted"]["finished"]["mean"] < found["fifo"]["predicted"]["finished"]["mean"]
    assert (tmp_path / "compare.png").exists()


def test_drawn_restaurants_go_by_the_costs_that_a_store_has(tmp_path, model):
    local = LocalMachine("embedded", "cpu", "continuous", {}, Path("~/.cache/review-digest").expanduser(), False, print)
    known_costs.keep(tmp_path, known_costs.name_of(Runtime(local)), CostModel(0.0, 0.01, 0.02, steps=321, error=0.1), {})
    done = jobs("--restaurants", 5, "--order", "fifo", "--device", "cpu", "--json", "--store", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["prediction"] == "rates measured on 321 steps: 10 ms a prompt token, 20 ms an output token, 0 ms a step"
    assert found["orders"]["fifo"]["rates"]["decode_s"] == 0.02


def test_drawn_requests_that_an_engine_could_not_hold_are_refused_in_words(model):
    tight = ["--engine-option", "max_model_len=512", "--engine-option", "kv_cache_memory_bytes=40000000"]
    done = jobs("--restaurants", 100, "--order", "fifo", "--device", "cpu", *tight)
    assert (done.returncode, done.stdout) == (78, ""), done.stderr
    assert "does not fit a KV cache of" in done.stderr


def test_a_deadline_that_first_in_first_out_misses_is_met_by_hybrid_in_every_pass():
    options = ["--engine-option", "max_num_seqs=16", "--order", "fifo", "--order", "hybrid", "--device", "cpu", "--json"]
    done = jobs("--restaurants", 30, "--seed", 1, *options, "--deadline", "r0000029=+200s")
    assert done.returncode == 0, done.stderr
    found = {name: one["predicted"]["deadlines"] for name, one in json.loads(done.stdout)["orders"].items()}
    assert found == {"fifo": {"met": 0, "missed": 1, "missed_by": ["r0000029"]}, "hybrid": {"met": 1, "missed": 0, "missed_by": []}}


def test_what_first_in_first_out_would_have_taken_is_one_command(past):
    output = past("restaurant")
    done = jobs(output)
    assert done.returncode == 0, done.stderr
    assert "starting vLLM" not in done.stderr
    assert any(line.startswith("fifo") for line in done.stdout.splitlines())
