"""The job's own work, measured with an engine that answers at once."""

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from jobs.benchmark_pipeline import _plan
from jobs.progress import TerminalProgress
from pipeline.generated import BLAME, PRAISE
from pipeline.instant_engine import InstantEngine
from pipeline.records import Request, Sampling
from pipeline.sampled import sampled
from pipeline.tasks.overlap import content_words, spoken
from pipeline.tasks.question import Asker
from pipeline.tasks.sentiment import QUESTIONS, log_odds

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def instant(tokens):
    labelled = [(text.format("soup"), good) for texts, good in ((PRAISE, True), (BLAME, False)) for text in texts]
    return InstantEngine(tokens, labelled, max_num_seqs=2)


@pytest.mark.parametrize(("text", "good"), [("Big portions, friendly people, wonderful.", True), ("Cold, salty, and they argued.", False)])
def test_the_instant_engine_reads_reviews_by_the_words_it_was_shown(instant, tokens, text, good):
    asker = Asker(tokens, QUESTIONS["en"])
    instant.submit(asker.ask("sentiment", "label", "a", tokens.encode([text])[0].ids), 0)
    (answer,) = instant.step()
    assert answer.usable
    assert (log_odds(asker, answer) > 0) == good
    assert sum(np.exp(list(answer.logprobs.values()))) == pytest.approx(1)


def test_the_instant_engine_answers_as_many_at_once_as_a_batch_holds_and_counts_its_own_time(instant):
    before, spent = instant.answered, instant.busy_s
    for number in range(5):
        instant.submit(Request(str(number), "summary", "part", "a", np.arange(9, dtype=np.uint32), Sampling(20)), 0)
    sizes = []
    while instant.unfinished:
        sizes.append(len(instant.step()))
    assert sizes == [2, 2, 1]
    assert instant.answered == before + 5
    assert instant.busy_s > spent


def test_the_sampler_finds_the_file_in_which_time_is_spent():
    seconds: Counter[str] = Counter()
    with sampled(seconds, "nothing.py"):
        until, number = time.process_time() + 0.3, 0
        while time.process_time() < until:
            number += 1
            content_words(f"The soup of day {number} was wonderful " * 20)  # too long to be remembered
    assert seconds["tasks/overlap.py"] > 0.1
    assert sum(seconds.values()) == pytest.approx(0.3, abs=0.15)


def test_what_is_measured_apart_takes_what_it_calls():
    seconds: Counter[str] = Counter()
    with sampled(seconds, "tasks/overlap.py"):
        until = time.process_time() + 0.2
        while time.process_time() < until:
            spoken("The soup was wonderful. " * 40)
    assert seconds["tasks/overlap.py"] > 0.1


def test_the_command_takes_made_up_reviews_through_the_whole_job(tmp_path):
    options = ["--restaurants", "30", "--profile", "--plan", "--again", "--folder", str(tmp_path)]
    command = [sys.executable, "-m", "jobs", "benchmark", "pipeline", *options]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["restaurants"] == 30
    assert found["requests"] > found["reviews"] > 60
    own_s = found["own_ms_per_request"] * found["requests"] / 1000
    assert own_s == pytest.approx(found["processor_s"] - found["engine_s"], abs=0.05)
    assert own_s > 0
    assert found["processor_s_by_file"]
    assert 0 < found["plan_s"] < 60
    assert found["plan_peak_mib"] > 50
    nights = found["next_nights"]
    assert nights["changed_restaurants"] == 1
    assert 50 < nights["nothing_new"]["peak_mib"] < nights["one_in_100"]["peak_mib"]  # the second one looks at reviews again
    assert list(tmp_path.iterdir()) == []  # nothing is left behind


def test_the_peak_of_a_plan_is_its_own_and_not_that_of_the_process_that_starts_it(tmp_path, write_dump):
    write_dump(tmp_path / "dump/x.parquet", {"restaurant_id": ["a", "a"], "text": ["Good soup.", "Cold soup."]})
    held = b"x" * (1 << 30)
    found = _plan(tmp_path / "dump", "restaurant", TerminalProgress())["plan_peak_mib"]
    assert 50 < found < 1024 == len(held) >> 20


def test_every_step_of_the_driver_is_timed():
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "benchmark", "driver", "--restaurants", "20", "--workers", "2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["reviews"] > 20
    assert found["microseconds"].keys() == {"read", "find", "send", "take", "write"}
    assert all(value > 0 for value in [*found["microseconds"].values(), *found["store_microseconds"].values(), found["dump_bytes"]])
