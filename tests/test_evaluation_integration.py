"""The evaluation with the real embedded model."""

import json

from test_analysis import Silent

from pipeline.evaluation.evaluate import Bench, evaluate
from pipeline.evaluation.plot import draw_plot
from pipeline.evaluation.samples import Evaluation, draw

DISHES = ("soup", "noodles", "pizza", "curry", "salad", "bread", "fish", "rice")


def test_a_model_is_measured_on_reviews_that_it_reads(engine, tokens, dump):
    columns = {
        "restaurant_id": [f"r{i}" for i in range(2) for _ in DISHES],
        "text": [
            f"The {dish} was wonderful and the waiter at place {i} was so kind. We will be back!"
            if (i + j) % 2
            else f"Terrible. We waited two hours at place {i}, and the {dish} was cold and awful."
            for i in range(2)
            for j, dish in enumerate(DISHES)
        ],
        "verdict": [int((i + j) % 2) for i in range(2) for j in range(len(DISHES))],
    }
    known, what = (
        dump(columns),
        Evaluation(label_column="verdict", restaurants=2, references={f"r{i}": ["Kind waiters."] for i in range(2)}),
    )
    drawn = draw(known, what)
    found = evaluate(known, drawn, what, Bench(tokens, engine, Silent()))
    assert found["sentiment"]["all"]["reviews"] == len(columns["text"])
    assert found["sentiment"]["all"]["balanced_accuracy"]["value"] > 0.9
    assert found["sentiment"]["all"]["area_under_curve"]["value"] > 0.9
    assert found["summary"]["support"]["sentences"] > 0
    assert (found["summary"]["empty"], found["summary"]["broken_citations"], found["strengths"]["broken_citations"]) == (0, 0, 0)
    for task in ("summary", "strengths"):
        answers = found[task]["answers"]
        assert answers["asked"] > 0
        assert (answers["failed"], answers["out_of_form"], answers["empty"]) == (0, 0, 0)
    cost = found["cost"]["summary, strengths"]
    labels = sum(split.put_in.height for split in drawn.splits)  # strengths asks about sentiment, too
    assert cost["requests"] == labels + sum(found[task]["answers"]["asked"] for task in ("summary", "strengths"))
    assert 0 < cost["cached_share"] < 1, "both tasks read one chunk"
    assert cost["seconds"] > 0
    whole = json.loads(json.dumps({"model": "embedded", **found}))
    assert draw_plot(whole).startswith(b"\x89PNG")
