"""A plan against the run that follows it: what is called exact is exact, what depends on answers stays within its bounds."""

import json
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from nights import Machine, Nights
from test_analysis import rows

from jobs.plan_page import page
from pipeline import results, reviews, spread
from pipeline.errors import BadConfiguration
from pipeline.job import Job
from pipeline.limits import Limits
from pipeline.order import ORDERS
from pipeline.planning import plan
from pipeline.priorities import Priorities
from pipeline.reviews import Selection
from pipeline.tokens import Tokens
from pipeline.without_weights import UNKNOWN, tokenizer_of

ROOT = Path(__file__).parent.parent
SAMPLE = str(ROOT / "data/sample/reviews.parquet")


class PlanMachine(Machine):
    engine_settings = {"block_size": 32, "kv_cache_memory_bytes": 2 << 30, "dtype": "float32", "max_num_seqs": 64}  # noqa: RUF012


@pytest.fixture(autouse=True)
def handlers():
    """Of signals, as they were: the command sets its own."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def nights(tmp_path, model, patched):
    """Runs and plans on one output and one store, of a model that is assumed to read everything (as `light` makes it)."""
    return Plans(tmp_path, replace(model, name="one that reads Korean"))


class Plans(Nights):
    def machine(self, **engine):
        return PlanMachine(self._model, **engine)

    def plan(self, made=None, order="restaurant", exact=10**6, machine=None, **job):
        """Of these rows, else of the dump of the last run."""
        from test_analysis import SCHEMA

        path = self.folder / "dump.parquet"
        if made is not None:
            pl.DataFrame(made, schema=SCHEMA, orient="row").write_parquet(path)
        job = {"store": self.folder / "store", **job}
        return plan(Job([str(path)], self.folder / "out", **job), ORDERS[order], machine or self.machine(), lambda _: None, exact)


def sample():
    return pl.read_parquet(SAMPLE).rows()


@pytest.fixture
def on_sample(nights, monkeypatch):
    """The same on data/sample."""
    import nights as module

    monkeypatch.setattr(module, "SCHEMA", pl.read_parquet_schema(SAMPLE))
    monkeypatch.setattr("test_analysis.SCHEMA", pl.read_parquet_schema(SAMPLE))
    return nights


def asked(night):
    """What the engine was asked, as planned: requests and prompt tokens by task and stage."""
    found = {}
    for request in [*night.machine.submitted(), *night.machine.submitted(anchors=True)]:
        number, tokens = found.get((request.task, request.stage), (0, 0))
        found[request.task, request.stage] = number + 1, tokens + len(request.prompt)
    return found


def assert_kept(planned, night):
    """What the plan called exact is what was asked, and the rest is within its bounds."""
    really = asked(night)
    told = dict(planned.amounts)
    for which, (number, tokens) in really.items():
        assert which in told, which
        assert told[which].least <= number <= told[which].most, which
        if told[which].certainty == "exact":
            assert (told[which].requests, told[which].prompt_tokens) == (number, tokens), which
    for which, amount in told.items():
        if amount.certainty == "exact" and amount.requests:
            assert which in really, which
    return really


def test_what_a_plan_calls_exact_is_asked_and_the_rest_stays_within_its_bounds(on_sample):
    planned = on_sample.plan(sample())
    night = on_sample.run(sample(), machine=on_sample.machine())
    really = assert_kept(planned, night)
    exact = {which for which, amount in planned.amounts if amount.certainty == "exact"}
    assert exact == {("sentiment", "label"), ("summary", "part"), ("strengths", "find")}
    assert really["sentiment", "calibrate"][0] == planned.amounts.of("sentiment", "calibrate").requests == 300
    all_tokens = sum(tokens for _, tokens in really.values())
    assert abs(planned.total.prompt_tokens / all_tokens - 1) < 0.15
    assert planned.restaurants == {"asked": 25, "unchanged": 0, "empty": 0, "answered": 0}
    assert sum(planned.rejects.values()) == night.tables["rejects"].height == 5


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_after_a_run_that_ended_early_the_plan_is_of_what_is_left(on_sample, share):
    whole = on_sample.plan(sample()).total.prompt_tokens
    limits = Limits(max_prompt_tokens=int(whole * share))
    first = on_sample.run(sample(), machine=on_sample.machine(), limits=limits)
    planned = on_sample.plan()
    assert planned.total.prompt_tokens < whole
    assert planned.total.stored
    assert planned.restaurants["unchanged"] == first.tables["restaurants"].filter(pl.col("fingerprint").is_not_null()).height
    night = on_sample.run(sample(), machine=on_sample.machine())
    assert_kept(planned, night)


def test_after_a_run_there_is_nothing_to_do_and_the_plan_loads_no_tokenizer(on_sample, monkeypatch):
    on_sample.run(sample(), machine=on_sample.machine())
    monkeypatch.setattr("pipeline.runtime.Weightless.tokens", property(lambda _: pytest.fail("loaded a tokenizer")))
    planned = on_sample.plan()
    assert planned.nothing_to_do
    assert page(planned).startswith("nothing to do: none of 25 restaurants")


def test_a_dump_without_one_of_its_restaurants_is_something_to_do(nights):
    nights.run(rows([3, 3, 3]), machine=nights.machine())
    assert nights.plan(rows([3, 3, 3])).nothing_to_do
    gone = nights.plan(rows([3, 3]))
    assert not gone.nothing_to_do
    assert gone.restaurants["asked"] == 0


@pytest.mark.parametrize("sizes", [[3, 9, 40], [120, 2]])
def test_a_new_review_is_planned_as_what_it_costs(nights, sizes):
    nights.run(rows(sizes), machine=nights.machine())
    more = [*rows(sizes), ("r0", "new", "Nice terrace.", 5.0, datetime(2027, 1, 1), "Place 0")]  # noqa: DTZ001 - as a dump holds it
    planned = nights.plan(more)
    assert (planned.restaurants["asked"], planned.restaurants["unchanged"]) == (1, len(sizes) - 1)
    assert planned.amounts.of("sentiment", "label").requests == 1
    really = assert_kept(planned, nights.run(more, machine=nights.machine()))
    assert really["sentiment", "label"][0] == 1


def test_with_everything_stored_but_no_results_the_plan_is_exact_to_the_last_comparison(on_sample):
    on_sample.run(sample(), machine=on_sample.machine(), output="elsewhere")
    planned = on_sample.plan()
    assert planned.total.most == 0
    assert planned.restaurants["answered"] == 25
    assert not planned.nothing_to_do
    night = on_sample.run(sample(), machine=on_sample.machine())
    assert night.asked == []
    assert planned.total.stored >= night.tables["requests"]["key"].n_unique()


def test_force_and_no_store_ask_everything_anew(nights):
    def without_anchors(planned):
        return {which: amount.requests for which, amount in planned.amounts if which[1] != "calibrate"}

    fresh = without_anchors(nights.plan(rows([3, 9])))
    nights.run(rows([3, 9]), machine=nights.machine())
    for options in ({"force": True}, {"store": None}):
        again = nights.plan(rows([3, 9]), **options)
        assert again.restaurants["unchanged"] == again.total.stored == 0
        assert without_anchors(again) == fresh


def test_an_estimate_is_close_to_the_count_and_says_how_close(on_sample):
    counted, estimated = on_sample.plan(sample()), on_sample.plan(sample(), exact=0)
    assert (counted.method, estimated.method) == ("exact", "estimated")
    for which in (("sentiment", "label"), ("summary", "part"), ("strengths", "find")):
        exact, about = counted.amounts.of(*which), estimated.amounts.of(*which)
        assert about.certainty == "estimated"
        assert about.requests == pytest.approx(exact.requests, rel=0.05)
        assert about.prompt_tokens == pytest.approx(exact.prompt_tokens, rel=0.05)
        assert about.cached_tokens == pytest.approx(exact.cached_tokens, rel=0.1)
    assert estimated.total.prompt_tokens == pytest.approx(counted.total.prompt_tokens, rel=0.05)
    assert {check.stage for check in estimated.checks} == {"label", "part", "find"}
    assert "held against 25 restaurants" in page(estimated)


@pytest.mark.parametrize("exact", [0, 10**6])
def test_stages_are_told_in_the_order_in_which_a_run_comes_to_them(on_sample, exact):
    planned = on_sample.plan(sample(), exact=exact)
    first = [("sentiment", "calibrate"), ("sentiment", "label"), ("summary", "part"), ("strengths", "find")]
    assert [which for which, _ in planned.amounts][:4] == first
    assert [(one["task"], one["stage"]) for one in planned.plain()["requests"]][:4] == first


@pytest.mark.parametrize("exact", [0, 10**6])
def test_a_plan_of_a_dump_in_many_ranges_is_that_of_one_in_memory(on_sample, monkeypatch, exact):
    whole = on_sample.plan(sample(), exact=exact)
    monkeypatch.setattr(spread, "RANGE_BYTES", 1_000)
    cut = []
    made = reviews.ranges_for
    monkeypatch.setattr(reviews, "ranges_for", lambda *given: cut.append(made(*given)) or cut[-1])
    parts = on_sample.plan(sample(), exact=exact)
    assert len(cut[0]) > 3
    shown = [[line for line in page(one).splitlines() if not line.startswith("memory")] for one in (parts, whole)]
    assert shown[0] == shown[1]
    assert (" in files, a part of them in memory at a time" in page(parts), " in files" in page(whole)) == (True, False)
    assert parts.total.prompt_tokens == pytest.approx(whole.total.prompt_tokens)
    assert parts.total.requests == pytest.approx(whole.total.requests)


def test_an_estimate_knows_what_share_is_stored(nights):
    made = rows([8] * 60)
    nights.run(made, machine=nights.machine(), output="elsewhere", limits=Limits(max_prompt_tokens=40_000))
    counted, estimated = nights.plan(made), nights.plan(exact=0)
    assert counted.total.stored > 100
    assert estimated.total.stored == pytest.approx(counted.total.stored, rel=0.15)


def test_a_plan_writes_nothing_and_waits_for_nobody(nights):
    nights.run(rows([3, 9]), machine=nights.machine(), limits=Limits(max_prompt_tokens=2_000))

    def state():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in nights.folder.rglob("*")}

    with results.lock(nights.folder / "out"):
        before = state()
        nights.plan()
        assert state() == before


def test_no_folder_appears_for_an_output_or_a_store_that_is_not_there(nights):
    nights.plan(rows([2]))
    assert sorted(path.name for path in nights.folder.iterdir()) == ["dump.parquet"]


def test_a_damaged_part_of_the_store_is_left_where_it_is(nights):
    nights.run(rows([3]), machine=nights.machine(), output="elsewhere")
    (part,) = (nights.folder / "store/answers").glob("v*.parquet")
    part.write_bytes(part.read_bytes()[:-1])
    planned = nights.plan(rows([3]))
    assert planned.total.stored == 0
    assert part.exists()


def test_what_is_longer_than_the_model_takes_is_named(nights):
    machine = nights.machine()
    machine.max_model_len = 1024
    long = [("r0", f"{i}", f"word{i} " * 900, 5.0, None, None) for i in range(3)]
    planned = nights.plan(long, machine=machine)
    assert planned.truncated == 3
    assert not planned.refused  # a review that is cut fits
    assert "truncated    3 reviews" in page(planned)


def test_the_longest_requests_name_their_restaurant_and_its_size(nights):
    planned = nights.plan(rows([2, 30, 4]))
    assert [(one.restaurant_id, one.review_count) for one in planned.longest[:2]] == [("r1", 30)] * 2
    assert planned.longest[0].prompt_tokens >= planned.longest[-1].prompt_tokens


def test_first_and_last_follow_the_order(nights):
    made = rows([9, 2, 30, 4, 6, 8, 3])
    by_cost = nights.plan(made)
    assert [one.restaurant_id for one in by_cost.first] == ["r1", "r6", "r3"]
    assert [one.restaurant_id for one in by_cost.last] == ["r5", "r0", "r2"]
    assert by_cost.first[0].why.endswith("prefill tokens")
    by_arrival = nights.plan(made, order="fifo")
    assert [one.restaurant_id for one in by_arrival.first] == ["r0", "r1", "r2"]
    assert by_arrival.first[0].why == "number 1 in the dump"


@pytest.mark.parametrize("exact", [10**6, 0])
def test_a_plan_shows_who_goes_first_for_a_person_or_a_deadline(nights, exact):
    soon = {"r2": datetime.now(UTC) + timedelta(seconds=30)}
    priorities = Priorities(frozenset({"r1"}), soon)
    planned = nights.plan(rows([3, 40, 60, 5, 4, 6, 8]), "hybrid", exact, priorities=priorities)
    first, second = planned.first[:2]
    assert (first.restaurant_id, first.why.split(";")[0]) == ("r1", "urgent")
    assert (second.restaurant_id, second.why.split(";")[0]) == ("r2", "its deadline is in danger")
    assert ";" not in planned.first[2].why


def test_an_estimate_by_cost_is_told_in_seconds(nights):
    assert " seconds" in nights.plan(rows([3, 40]), "cost", 0).first[0].why


def test_cached_tokens_are_whole_blocks_and_fewer_with_larger_ones(nights):
    def cached(block):
        machine = nights.machine()
        machine.engine_settings = {**PlanMachine.engine_settings, "block_size": block}
        return nights.plan(rows([6, 9]), machine=machine).amounts.of("strengths", "find").cached_tokens

    small, large = cached(16), cached(128)
    assert small % 16 == large % 128 == 0
    assert small > large > 0
    machine = nights.machine()
    machine.engine_settings = {**PlanMachine.engine_settings, "enable_prefix_caching": False}
    assert nights.plan(rows([6, 9]), machine=machine).total.cached_tokens == 0


def test_queries_beside_are_planned_with_the_restaurants(nights):
    queries = nights.folder / "queries.parquet"
    pl.DataFrame({"query_id": ["q1", "q2"], "text": ["cheap noodles", "quiet place"]}).write_parquet(queries)
    planned = nights.plan(rows([3]), queries=(str(queries),))
    night = nights.run(rows([3]), machine=nights.machine(), queries=(str(queries),))
    assert_kept(planned, night)
    assert sum(amount.requests for (task, _), amount in planned.amounts if task == "query_expansion") > 2


def test_a_narrower_plan_on_a_wider_result_is_refused_as_the_run_would_be(nights):
    nights.run(rows([2, 2]), machine=nights.machine())
    with pytest.raises(BadConfiguration, match="--update"):
        nights.plan(rows([2, 2]), selection=Selection(limit=1))
    assert nights.plan(rows([2, 2]), selection=Selection(limit=1), update=True).nothing_to_do


def test_limits_that_will_end_the_run_are_said(nights):
    planned = nights.plan(rows([5]), limits=Limits(datetime(2027, 1, 1, tzinfo=UTC), max_prompt_tokens=10))
    assert [line.split()[0] for line in planned.limits] == ["--max-prompt-tokens", "--stop-at"]
    waits = nights.plan(rows([5, 9]), priorities=Priorities(max_wait=timedelta(seconds=2))).limits
    assert re.fullmatch(r"nobody starts more than [1-9][\d,]* estimated tokens later than first in, first out, whatever .*", waits[0])


def test_the_tokenizer_from_the_model_file_is_the_one_that_preparing_saves(model, tokens, tmp_path):
    with tokenizer_of("embedded", tmp_path / "nothing prepared") as light:
        assert (light.name, light.revision) == (model.name, model.revision)
        assert (light.folder / "tokenizer.json").read_bytes() == (model.folder / "tokenizer.json").read_bytes()
        other = Tokens(light.folder)
        texts = ["Cold noodles, rude waiter <|im_end|>", "맛있어요 ㅋㅋ 🍜", " two  spaces\tand a tab"]
        assert [one.ids.tolist() for one in other.encode(texts)] == [one.ids.tolist() for one in tokens.encode(texts)]
        assert other.chat("system", "-") == tokens.chat("system", "-")
    assert not light.folder.exists()
    assert not (tmp_path / "nothing prepared").exists()


def test_a_folder_without_weights_is_enough_and_nothing_in_the_store_counts_as_its_own(model, tmp_path):
    folder = tmp_path / "light"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "config.json"):
        (folder / name).write_bytes((model.folder / name).read_bytes())
    with tokenizer_of(str(folder), tmp_path) as light:
        assert light.revision == UNKNOWN


@pytest.mark.parametrize("prepared", [True, False])
def test_the_command_imports_neither_torch_nor_vllm_and_prints_json(tmp_path, prepared):
    cache = [] if prepared else ["--model-cache", str(tmp_path / "cache")]
    arguments = ["plan", SAMPLE, "--output", str(tmp_path / "out"), "--device", "cpu", "--json", *cache]
    code = (
        f"import sys, jobs.cli; jobs.cli.cli({arguments!r}, standalone_mode=False); "
        "print([name for name in ('torch', 'vllm') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["[]"]
    told = json.loads(done.stdout)
    assert told["restaurants"]["asked"] == 25
    assert told["assumed"] == {"en": True, "ko": False}
    label = next(one for one in told["requests"] if one["stage"] == "label")
    assert (label["certainty"], label["requests"], label["prompt_tokens"]) == ("exact", 188, 26_107)
    assert not list(tmp_path.iterdir())


def test_the_options_are_those_of_analyze_with_its_environment_and_its_table_in_a_file(tmp_path, monkeypatch):
    from jobs.analyze import analyze
    from jobs.cli import cli
    from jobs.plan import ONLY_OF_A_RUN
    from jobs.plan import plan as command

    names = {param.name for param in command.params}
    assert names == {param.name for param in analyze.params} - set(ONLY_OF_A_RUN) | {"exact_reviews", "workers", "bandwidth", "as_json"}
    monkeypatch.setenv("REVIEW_DIGEST_ANALYZE_MODEL", str(tmp_path / "nowhere"))
    done = CliRunner().invoke(cli, ["plan", SAMPLE])
    assert isinstance(done.exception, BadConfiguration)
    monkeypatch.delenv("REVIEW_DIGEST_ANALYZE_MODEL")
    (tmp_path / "nightly.toml").write_text(f'[analyze]\nmodel = "{tmp_path / "nowhere"}"\nmax-failed = "5%"\n')
    done = CliRunner().invoke(cli, ["--config", str(tmp_path / "nightly.toml"), "plan", SAMPLE])
    assert isinstance(done.exception, BadConfiguration)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nowhere.parquet"], 66),
        ([SAMPLE, "--column", "text=Review"], 65),
        ([SAMPLE, "--model", "./no-such-folder"], 78),
        ([SAMPLE, "--output", SAMPLE], 78),
        ([SAMPLE, "--order", "magic"], 2),
        ([SAMPLE, "--no-store", "--force"], 2),
    ],
)
def test_errors_are_those_of_the_run(arguments, code):
    from jobs.cli import cli

    done = CliRunner().invoke(cli, ["plan", *arguments])
    assert getattr(done.exception, "exit_code", None) == code or done.exit_code == code, done.output


def test_equal_restaurants_are_counted_once_also_in_what_follows(nights):
    twice = [(name, f"{j}", f"Dish {j} was fine.", 5.0, datetime(2026, 1, 1 + j % 28), None) for name in "ab" for j in range(120)]  # noqa: DTZ001
    planned = nights.plan(twice, tasks=("summary",))
    assert planned.chunks >= 6
    assert_kept(planned, nights.run(twice, machine=nights.machine(), tasks=("summary",)))
