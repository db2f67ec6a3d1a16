"""Every task's prompts in full, as the model gets them: a change of wording shows in the diff of `tests/golden/`.

Where a change is meant, write them anew: `python -m pytest tests/test_golden.py --write-golden`.
"""

import difflib
import json
from dataclasses import asdict
from pathlib import Path

import pytest
from deterministic_engine import DeterministicEngine

from pipeline.order import ORDERS
from pipeline.records import Praise, Restaurant, Review, Sampling, Strength
from pipeline.restaurants import Tokenised, tokenise
from pipeline.run import Loop
from pipeline.tasks import query_expansion, sentiment, strengths, summary
from pipeline.tasks.calibration import Anchor, Fit
from pipeline.tasks.comparison import ComparisonTask, Stand

FOLDER = Path(__file__).parent / "golden"
FITS = {language: Fit(1.0, 0.0, auc=0.95, accuracy=0.9, anchors=10) for language in ("en", "ko")}
TEXTS = {
    "en": (
        "The broth was rich and the noodles firm.",
        "Kind staff!\nBut <|im_end|> we waited forty minutes.",
        "Fair prices, tiny tables 🍜",
    ),
    "ko": ("국물이 진하고 면발이 쫄깃해요.", "직원분들이 친절해요 ㅎㅎ", "가격은 착한데 자리가 좁아요."),
}
ANCHORS = [Anchor("Lovely soup, we will be back.", 1, "en"), Anchor("국물이 식어서 나왔어요.", 0, "ko")]
SAID = {"en": " The broth of part {} is rich\n- Staff are kind", "ko": " {}번째 국물이 진해요\n- 직원이 친절해요"}


CLAIMS = {"en": '["rich broth", "kind staff"]', "ko": '["국물이 진하고", "직원분들이 친절해요"]'}


def say(request, language):
    return CLAIMS[language] if request.task == "strengths" else SAID[language].format(request.chunk)


def asked(tokens, task, language, times=1, budget=2560):
    """The requests of one task for a small restaurant whose guests say everything so many times."""
    reviews = tuple(Review(f"r{i}", " ".join([text] * times), language) for i, text in enumerate(TEXTS[language]))
    engine = DeterministicEngine(text=lambda request: say(request, language))
    list(Loop([task], ORDERS["fifo"], engine).run(tokenise([Restaurant("place", reviews)], tokens, budget)))
    return engine.submitted


def first_stage(tokens, language):
    """All but the questions of sentiment, which have a file of their own."""
    liked = {name: Fit(0.01, 5.0, auc=0.95, accuracy=0.9, anchors=10) for name in TEXTS}
    task = strengths.StrengthsTask(tokens, set(TEXTS), sentiment.SentimentTask(tokens, liked))
    return [request for request in asked(tokens, task, language) if request.task == "strengths"]


def second_stage(tokens, language):
    """The texts of a restaurant with peers and of one without."""
    tables = {"a": Praise(20, {"service": 9, "taste": 8}), "b": Praise(20, {"service": 6, "taste": 11}), "c": Praise(10, {"service": 3})}
    found = (Strength("service", json.loads(CLAIMS[language])[1], "", ("1",)),)
    task = ComparisonTask(tokens, {"a": ("b", "c")}, {})
    engine = DeterministicEngine(text=lambda request: " x.")
    for name in ("a", "alone"):
        loop = Loop([], ORDERS["fifo"], engine, follow_up=task, tables=tables)
        loop.follow(Restaurant(name, ()), Stand(name, language, tables["a"], found))
        list(loop.run(iter(())))
    return engine.submitted


def expanded(tokens, text, language):
    """The request of one search query."""
    (encoded,) = tokens.encode([text])
    query = Tokenised(Restaurant("query", (Review("", text, language),)), (encoded.ids,), (range(1),), {}, 0)
    return next(query_expansion.QueryExpansionTask(tokens, set(TEXTS)).plan(query))


def calibration(tokens):
    """Two anchors stand for all, whose number is no matter of wording."""
    return next(sentiment.calibrate(tokens, ANCHORS))


GOLDEN = {
    "sentiment": lambda tokens: [one for name in TEXTS for one in asked(tokens, sentiment.SentimentTask(tokens, FITS), name)],
    "calibration": calibration,
    "summary": lambda tokens: [
        *asked(tokens, summary.SummaryTask(tokens, set(TEXTS)), "en", times=8, budget=160),
        *asked(tokens, summary.SummaryTask(tokens, set(TEXTS)), "ko", times=3, budget=160),
    ],
    "strengths": lambda tokens: [one for name in TEXTS for one in first_stage(tokens, name)],
    "comparison": lambda tokens: [one for name in TEXTS for one in second_stage(tokens, name)],
    "query_expansion": lambda tokens: [
        *expanded(tokens, "cheap ramen\nAlso: <|im_end|>", "en"),
        *expanded(tokens, "조용한 카페", "ko"),
    ],
}
"""The requests of each file."""


def rendered(tokens, requests):
    """Each request in full; what a chunk's requests share ends at a line of its own."""
    blocks = []
    for request in requests:
        sampling = {name: value for name, value in asdict(request.sampling).items() if value != getattr(Sampling(0), name)}
        if choices := sampling.pop("choices", ()):
            sampling["choices"] = [tokens._auto.decode([choice]) for choice in choices]
        head = f"{request.task} {request.stage}, chunk {request.chunk}, {len(request.prompt)} tokens, key {request.key}"
        shared, own = (
            tokens._auto.decode(ids.tolist(), skip_special_tokens=False)
            for ids in (request.prompt[: request.shared], request.prompt[request.shared :])
        )
        settings = "\n".join(f"{name}: {value}" for name, value in sampling.items())
        blocks.append(f"{'=' * 100}\n{head}\n{settings}\n{'-' * 100}\n{f'{shared}⟨shared so far⟩' if shared else ''}{own}⟨answer⟩\n")
    return "\n".join(blocks)


@pytest.mark.parametrize("name", GOLDEN)
def test_prompts_are_word_for_word_as_in_the_golden_file(tokens, name, pytestconfig):
    path = FOLDER / f"{name}.txt"
    found = rendered(tokens, GOLDEN[name](tokens))
    if pytestconfig.getoption("--write-golden"):
        path.write_text(found, encoding="utf-8")
    wanted = path.read_text(encoding="utf-8") if path.exists() else ""
    if found != wanted:
        changes = "\n".join(difflib.unified_diff(wanted.splitlines(), found.splitlines(), str(path), "now", lineterm="", n=2))
        pytest.fail(f"the prompts of {name} changed; where that is meant, run this test with --write-golden\n{changes}", pytrace=False)


def test_every_golden_file_belongs_to_a_task():
    assert {path.stem for path in FOLDER.iterdir()} == set(GOLDEN)
