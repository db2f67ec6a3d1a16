"""This job beside other ways to ask the same: what reaches the engine, what is measured, and the floor."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from clocked_engine import ClockedMachine
from deterministic_engine import DeterministicEngine
from test_analysis import Silent
from test_compare import OPTIONS, SKEWED, rows

from pipeline.bench import Bounds, measure_ways, waits
from pipeline.bench_table import page
from pipeline.costs import Step
from pipeline.floor import Ceilings, Load, Network, floor_s, load, network
from pipeline.generated import MOST_SENTENCES, Generated
from pipeline.job import Job, Stop
from pipeline.models import get
from pipeline.peak_memory import peak_bytes, reset_peak
from pipeline.records import Request, Restaurant, Review, Sampling
from pipeline.restaurants import Tokenised
from pipeline.reviews import read
from pipeline.runtime import Runtime
from pipeline.simulation.shapes import shape
from pipeline.tasks.sentiment import SentimentTask
from pipeline.tasks.summary import SummaryTask
from pipeline.ways import BATCH, WAYS, InstructionFirst, OneByOne

ROOT = Path(__file__).parent.parent
NETWORK = Network(weights=100, output=10, layers=2, width=4, kv_bytes=8, weight_bytes=4)
CEILINGS = Ceilings(operations_s=1e6, bytes_s=1e6)


def ids(*tokens):
    return np.array(tokens, dtype=np.uint32)


def request(key, restaurant="a", task="sentiment", stage="label"):
    return Request(key, task, stage, restaurant, ids(1, 2, 3), Sampling(1))


# Ways


def over_chunk(tokens, task):
    review = Review("1", "Fine soup", "en")
    one = Tokenised(Restaurant("a", (review,)), (tokens.encode([review.text])[0].ids,), (range(1),), {}, 512)
    return next(task.plan(one))[0]


def test_an_instruction_goes_before_the_reviews_in_words_that_fit_there_and_the_answer_begins_behind_them(tokens):
    asked = over_chunk(tokens, SummaryTask(tokens, {"en"}))
    before, after = tokens.text(asked.prompt), tokens.text(InstructionFirst(tokens)(asked).prompt)
    assert before.index("[1] Fine soup") < before.index("in the reviews above")
    assert after.index("in the reviews below") < after.index("[1] Fine soup")
    assert "above" not in after
    assert after.endswith(before[before.rindex("<|im_end|>") :])
    assert "reviews.\n\n[1] Fine soup" in after
    asked = replace(asked, shared=0)
    assert InstructionFirst(tokens)(asked) is asked


def test_without_a_chat_format_the_answer_still_begins_behind_the_reviews(tokens, monkeypatch):
    monkeypatch.setattr(tokens._auto, "chat_template", None)
    asked = over_chunk(tokens, SummaryTask(tokens, {"en"}))
    said = tokens.text(InstructionFirst(tokens)(asked).prompt)
    assert said.index("reviews below") < said.index("[1] Fine soup")
    assert said.endswith("\n\n-")


class AllAtOnce(DeterministicEngine):
    """As `LLM.generate`: a step answers all it was given."""

    def __init__(self):
        super().__init__()
        self.lists = []

    def step(self):
        self.lists.append([one for _, _, one in self._inside])
        answers, self._inside = [self._answer(one) for _, _, one in self._inside], []
        return answers


def test_one_by_one_asks_for_one_task_of_one_restaurant_at_a_time():
    inner = AllAtOnce()
    engine = OneByOne(inner)
    asked = [(2, "b", "summary", "part"), (1, "a", "summary", "part"), (2, "b", "sentiment", "label"), (1, "a", "sentiment", "label")]
    for number in range(3):
        for rank, restaurant, task, stage in asked:
            engine.submit(request(f"{restaurant}-{task}-{number}", restaurant, task, stage), rank)
    answered = []
    while engine.unfinished:
        answered += [answer.key for answer in engine.step()]
    told = [[(one.restaurant_id, one.task) for one in some] for some in inner.lists]
    assert told == [[("a", "sentiment")] * 3, [("a", "summary")] * 3, [("b", "sentiment")] * 3, [("b", "summary")] * 3]
    assert len(set(answered)) == 12


def test_one_by_one_asks_at_most_a_batch_at_once():
    inner = AllAtOnce()
    engine = OneByOne(inner)
    for number in range(2 * BATCH + 1):
        engine.submit(request(str(number)), 0)
    while engine.unfinished:
        engine.step()
    assert [len(some) for some in inner.lists] == [BATCH, BATCH, 1]


# Measured


@pytest.fixture
def bench(model, patched, tmp_path, write_dump):
    machine = ClockedMachine(model, patched, **OPTIONS)
    job = Job([write_dump(tmp_path / "dump.parquet", rows(SKEWED))], tmp_path / "unused")
    others = [{**row, "restaurant_id": f"other-{row['restaurant_id']}"} for row in rows([9, 4, 20], seed=2)]
    other = read([write_dump(tmp_path / "other.parquet", others)])
    told = []

    def foretell(predicted):
        told.append((dict(predicted), machine.made.steps.spent.steps))

    found = measure_ways(read(job.inputs), other, job, Runtime(machine), Bounds(Ceilings(1e7, 1e7), NETWORK), 2, Silent(), Stop(), foretell)
    found.found["told"] = [(*told[0], machine.made.steps.spent.steps)]
    return found


def test_ways_ask_the_same_and_the_pipeline_computes_least_and_is_fastest(bench):
    ways = bench.found["ways"]
    assert list(ways) == [way.name for way in WAYS]
    one_by_one, by_stage, same_prompts, pipeline = (ways[name]["measured"] for name in ways)
    assert len({one["requests"] for one in (one_by_one, by_stage, same_prompts, pipeline)}) == 1
    assert same_prompts["computed_tokens"] < by_stage["computed_tokens"]  # chunks are shared only where the instruction comes last
    assert one_by_one["seconds"] > by_stage["seconds"] > pipeline["seconds"]
    assert pipeline["finished"]["mean"] < same_prompts["finished"]["mean"]
    assert ways["one by one"]["faster"]["measured"] == pytest.approx(one_by_one["seconds"] / pipeline["seconds"], abs=0.001)


def test_each_way_is_predicted_before_it_is_measured(bench):
    ((predicted, steps_before, steps_in_all),) = bench.found["told"]
    for name, one in bench.found["ways"].items():
        assert predicted[name] == one["predicted_s"] == pytest.approx(one["measured"]["seconds"], rel=0.1), name
    assert steps_before < steps_in_all / 3  # of ten runs two had been made


def test_no_way_is_below_the_floor_or_above_a_perfect_cache(bench):
    for name, one in bench.found["ways"].items():
        assert one["of_floor"] >= 1, name
        assert 0 < one["measured"]["of_perfect_cache"] <= 1, name
    assert bench.found["ways"]["pipeline"]["measured"]["of_perfect_cache"] > 0.9


def test_the_table_has_every_way_and_what_the_floor_stands_on(bench):
    found = {"about": "twelve restaurants", **bench.found, "ceilings": {"operations_s": 5e10, "bytes_s": 2e10}}
    said, made_up = page({**found, "made_up": False}), page({**found, "made_up": True})
    assert "labels agree" in said
    assert "labels agree" not in made_up
    for word in (
        *[way.name for way in WAYS],
        "twelve restaurants",
        "50 GFLOP/s",
        "20.0 GB/s",
        "seconds to the last answer",
        "of a perfect cache's",
    ):
        assert word in said


def test_a_step_has_idle_slots_where_it_had_room_and_somebody_waited():
    engine = shape({"max_num_seqs": 4, "max_num_batched_tokens": 100, "block_size": 32}, "continuous", None)
    busy = Step(1.0, 50, 4, 4, 3, sequences=4)
    full = Step(2.0, 96, 2, 2, 9, sequences=2)  # no room for more tokens
    idle = Step(3.0, 10, 2, 1, 3, sequences=2, ended=1)
    alone = Step(4.0, 0, 2, 2, 0, sequences=2)  # nobody waited
    trial = SimpleNamespace(steps=[busy, full, idle, alone, idle], timeline=SimpleNamespace(seconds=20.0))
    assert waits(trial, engine, 15.0) == {"outside_step": 0.25, "idle_slots": 0.3}  # 3 of 10 seconds, the last step left out
    untold = SimpleNamespace(steps=[Step(1.0, 10, 2, 1, 3)] * 20, timeline=SimpleNamespace(seconds=20.0))
    assert waits(untold, engine, 0.0) == {"outside_step": None, "idle_slots": None}


def test_prompts_as_text_are_the_same_questions_with_nothing_put_around_them(engine, tokens, fits):
    sentiment = SentimentTask(tokens, fits)
    asked = [
        sentiment.ask_about("sentiment", "label", "a", "en", tokens.encode([text])[0].ids, 0) for text in ("Lovely food", "Never again")
    ]
    answers = {}
    for as_text in (False, True):
        engine.start_over("generate", as_text)
        for one in asked:
            assert engine.submit(one, 0) is None
        answers[as_text] = {answer.key: answer for answer in engine.step()}
    engine.start_over("continuous")
    for one in asked:
        plain, text = answers[False][one.key], answers[True][one.key]
        assert sentiment.label(plain, "en")[0] == sentiment.label(text, "en")[0]
        assert plain.prompt_tokens - 3 <= text.prompt_tokens <= plain.prompt_tokens  # a space goes to the word behind it


# The floor


def test_what_no_cache_can_serve_is_counted_in_whole_blocks_and_answers_after_their_first_token():
    same = np.arange(10, dtype=np.uint32)
    found = load([(same, 3), (same, 1)], block_size=4)
    # The second takes two blocks of four from the cache; token i looks back at i tokens, itself included.
    assert found == Load(prefilled=10 + 2, decoded=4, answers=2, looked_back=55 + (10 + 1) + (10 + 2) + 9 + 10, kept=10 + 1 + 10 + 2)


def test_the_floor_is_the_longer_of_arithmetic_and_memory():
    work = Load(prefilled=1000, decoded=10, answers=10, looked_back=0)
    assert floor_s(work, NETWORK, CEILINGS, 8, 1000) == pytest.approx((2 * 100 * 1000 + 2 * 10 * 10) / 1e6)
    long = Load(prefilled=0, decoded=1010, answers=10)
    assert floor_s(long, NETWORK, CEILINGS, 1, 1000) == pytest.approx(1000 * 110 * 4 / 1e6)  # a step each, all weights each


def test_sizes_of_the_embedded_model_come_from_its_files(tmp_path_factory):
    sizes = network(get("embedded", Path("~/.cache/review-digest").expanduser()).folder, weight_bytes=4)
    assert (sizes.layers, sizes.width, sizes.output) == (30, 576, 49152 * 576)
    assert sizes.weights == 134_515_008 - 49152 * 576
    assert sizes.kv_bytes == 2 * 30 * 3 * 64 * 4


# What is made up, and memory


def test_reviews_that_are_made_up_are_the_same_for_a_seed_and_readable_as_a_dump(tmp_path):
    one, other = (pl.concat(Generated(300, seed).tables()) for seed in (1, 2))
    assert one.equals(pl.concat(Generated(300, 1).tables()))
    assert not one.equals(other)
    counts = one.group_by("restaurant_id").len()["len"]
    assert (counts.len(), counts.min(), counts.max()) == (300, 2, 100)
    one.write_parquet(tmp_path / "made.parquet")
    dump = read([str(tmp_path / "made.parquet")])
    assert dump.reviews.height == one.height
    assert dump.rejects.is_empty()
    assert one["text"].str.count_matches(r"[.!]").max() <= MOST_SENTENCES + 1  # and the bill
    assert 0.95 < one["text"].n_unique() / one.height < 1  # a few say what others say, as in real dumps
    assert one["restaurant_id"].head(50).n_unique() > 30  # shuffled


def test_the_peak_of_memory_can_begin_anew():
    if not reset_peak():
        pytest.skip("this system does not reset the peak")
    before = peak_bytes()
    held = np.ones(200 << 20, dtype=np.uint8)
    assert peak_bytes() - before > 150 << 20
    del held
    reset_peak()
    assert peak_bytes() - before < 100 << 20


def test_the_command_says_what_it_compares():
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "benchmark", "ways", "--help"], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == 0
    assert "Without INPUT, reviews are made up." in done.stdout
