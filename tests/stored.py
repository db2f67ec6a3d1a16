"""Requests and answers by number, for tests of the store."""

import random

import numpy as np

from pipeline.records import Answer, Request, Sampling
from pipeline.store import Store

IDENTITY = "ab" * 16


def request(number, restaurant="r1", task="sentiment"):
    return Request(f"{number:032x}", task, "label", restaurant, np.array([1, 2, 3], dtype=np.uint32), Sampling(1))


def answer(number, text=None, **changed):
    """Every field is filled; the doubles have all their bits in use."""
    chance = random.Random(number)
    fields = {
        "text": text if text is not None else f"answer {number} 맛있어요\n\0",
        "logprobs": {chance.randrange(1 << 17): -chance.expovariate(0.3) for _ in range(number % 4)},
        "prompt_tokens": chance.randrange(5000),
        "cached_tokens": chance.randrange(5000),
        "output_tokens": number % 160,
        "queue_s": chance.random(),
        "prefill_s": chance.random(),
        "decode_s": None if number % 2 else chance.random(),
        "finish_reason": "stop",
    }
    return Answer(f"{number:032x}", **{**fields, **changed})


def fill(folder, numbers, identity=IDENTITY, text=None, restaurant="r1", task="sentiment", **options):
    """One run that adds these answers: one part."""
    with Store(folder, identity, **options) as store:
        for number in numbers:
            store.add(request(number, restaurant, task), answer(number, text))


def found(store, numbers):
    """The answers found, by number. None of them may come twice."""
    answers = list(store.find([f"{number:032x}" for number in numbers]))
    by_number = {int(one.key, 16): one for one in answers}
    assert len(by_number) == len(answers)
    return by_number


def served(folder, numbers, identity=IDENTITY, **options):
    with Store(folder, identity, **options) as store:
        return found(store, numbers)


def parts_in(folder):
    return sorted((folder / "answers").glob("v*.parquet"))
