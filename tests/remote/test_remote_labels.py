"""The embedded model elsewhere answers as it does in this process, and is kept busy."""

import os
import re
import threading
import time

import numpy as np
import polars as pl
import pytest
from real_servers import KEY, SEQUENCES

from pipeline.generated import Generated
from pipeline.order import ORDERS
from pipeline.records import Request, Restaurant, Review, Sampling
from pipeline.remote.endpoint import Endpoint
from pipeline.remote.machine import RemoteMachine
from pipeline.restaurants import tokenise
from pipeline.run import Loop
from pipeline.tasks import sentiment

pytestmark = pytest.mark.remote
REVIEWS, LEAST_EQUAL = {"openai": 500, "runpod": 100}, 0.99
NOISE = 0.01
"""Scores of one question differ by less between batches of another shape; then a label on its boundary may fall to either side."""
FULL = 0.85
"""Of the sequences. An answer of 24 tokens is counted after 23 steps, and its place is empty for one: no more than 23 of 25 can be seen."""


@pytest.fixture(scope="module")
def texts():
    """Made-up reviews, or those of a dump that REVIEWS names."""
    table = pl.read_parquet(os.environ["REVIEWS"]).drop_nulls("text") if "REVIEWS" in os.environ else next(iter(Generated(40).tables()))
    found = table["text"].unique(maintain_order=True).to_list()[: max(REVIEWS.values())]
    assert len(found) == max(REVIEWS.values())
    return found


@pytest.fixture
def remote(place, tmp_path):
    """The engine there, 32 requests in flight."""
    with RemoteMachine(Endpoint(place.kind, place.url, SEQUENCES, key=KEY), "embedded", tmp_path, lambda what: None) as machine:
        yield machine.engine(machine.model())


@pytest.fixture(scope="module")
def here(engine, tokens, fits, texts):
    return labelled(engine, tokens, fits, texts)


def labelled(engine, tokens, fits, texts):
    """Sentiments by review, in restaurants of twenty."""
    reviews = [Review(str(number), text, "en") for number, text in enumerate(texts)]
    places = (Restaurant(f"r{start}", tuple(reviews[start : start + 20])) for start in range(0, len(reviews), 20))
    loop = Loop([sentiment.SentimentTask(tokens, fits)], ORDERS["restaurant"], engine)
    return {one.review_id: one for outcome in loop.run(tokenise(places, tokens, 1024)) for one in outcome.results["sentiment"]}


def test_labels_are_those_of_the_engine_in_this_process(remote, place, here, tokens, fits, texts, capsys):
    there = labelled(remote, tokens, fits, texts[: REVIEWS[place.kind]])
    assert len(there) == REVIEWS[place.kind]
    assert {one.label for one in there.values()} >= {"positive", "negative"}
    moved = {name: abs(one.score - here[name].score) for name, one in there.items()}
    both = {"here": here, "there": there}
    differing = [name for name, one in there.items() if one.label != here[name].label]
    with capsys.disabled():
        figures = [f"{place.kind}: {len(there)} reviews, {len(differing)} labels differ, scores by {max(moved.values()):.6f} at most"]
        figures += [f"  {one[name].label} at {one[name].score:+.6f} {where}" for name in differing for where, one in both.items()]
        print("", *figures, sep="\n")  # noqa: T201
    assert len(differing) <= (1 - LEAST_EQUAL) * len(there)
    assert all(moved[name] < NOISE for name in differing)


def test_thirty_two_requests_in_flight_keep_the_server_full(vllm, tokens, tmp_path, capsys):
    import httpx2

    running, full, fed = [], threading.Event(), threading.Event()

    def watch():
        full.wait()
        while not fed.is_set():
            said = httpx2.get(f"{vllm.url}/metrics", timeout=10).text
            running.append(float(re.search(r"^vllm:num_requests_running\{[^}]*\} (\S+)", said, re.MULTILINE)[1]))
            time.sleep(0.1)

    prompt = tokens.part("The following is a long list of dishes that guests have praised, one after another: ")
    asked = [
        Request(f"{number:032x}", "summary", "part", "r", np.append(prompt, tokens.part(f"{number}")), Sampling(16 + number % 17))
        for number in range(5 * SEQUENCES)
    ]
    watcher = threading.Thread(target=watch, daemon=True)
    with RemoteMachine(Endpoint("openai", vllm.url, SEQUENCES, key=KEY), "embedded", tmp_path, lambda what: None) as machine:
        engine = machine.engine(machine.model())
        watcher.start()
        waiting, found = asked[::-1], []
        while waiting or engine.unfinished:
            while waiting and engine.unfinished < engine.window:
                engine.submit(waiting.pop(), 0)
            if not waiting:  # from here on fewer and fewer are left
                fed.set()
            found += engine.step()
            if found:
                full.set()
        watcher.join(10)
    assert all(answer.error is None for answer in found)
    assert all(answer.first_token_s and answer.prefill_s is not None for answer in found)
    mean = sum(running) / len(running)
    with capsys.disabled():
        print(f"\n{mean:.1f} of {SEQUENCES} sequences running on average, {len(running)} samples")  # noqa: T201
    assert mean >= FULL * SEQUENCES
