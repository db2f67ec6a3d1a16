"""Support, likeness and citations of known texts; the whole evaluation with an engine without a model, its table and its picture."""

import io
import json
import re
import struct
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from deterministic_engine import DeterministicEngine
from test_analysis import FakeMachine, Silent

from jobs.evaluate import evaluate as evaluate_command
from pipeline.errors import BadData
from pipeline.evaluation import output
from pipeline.evaluation.evaluate import Bench, evaluate
from pipeline.evaluation.plot import DPI, HEIGHT, WIDTH, draw_plot
from pipeline.evaluation.references import read_references
from pipeline.evaluation.rouge import Rouge
from pipeline.evaluation.samples import Evaluation, Split, draw
from pipeline.evaluation.table import aligned, page, point, share
from pipeline.evaluation.texts import broken, likeness, measure_strengths, support
from pipeline.job import Stop
from pipeline.tasks import sentiment
from pipeline.tasks.calibration import Fit
from pipeline.tasks.known import TASKS

OWN = ["The soup was hot and spicy.", "Friendly waiters, quick service."]
OTHERS = ["Cold pizza.", "The soup was hot, too hot."]


def split(name="a", put_in=OWN, others=OTHERS, left_out=("Hot spicy soup",), ratings=(5.0, 4.0)):
    frame = pl.DataFrame({"review_id": [f"{name}{i}" for i in range(len(put_in))], "text": put_in, "rating": list(ratings)})
    return Split(name, frame, tuple(left_out), tuple(others), tuple(put_in[:1]))


def test_support_is_held_against_as_many_reviews_of_others():
    a, b = split("a"), split("b")
    found = support([(a, "hot spicy soup", None), (a, "hot soup", None), (a, "rooftop garden", None), (b, "quick service", None)], seed=1)
    assert found["sentences"] == 4
    assert (found["own"]["value"], found["others"]["value"], found["gap"]["value"]) == (3 / 4, 2 / 4, 1 / 4)
    assert found["own"]["low"] <= 3 / 4 <= found["own"]["high"]


def test_a_sentence_of_a_review_is_not_supported_by_that_review():
    alone = support([(split(), "Friendly waiters, quick service.", "Friendly waiters, quick service.")], seed=1)
    assert alone["own"]["value"] == 0.0


def test_likeness_is_that_of_the_summary_and_of_a_random_review():
    found = likeness([(split(), {"summary": "hot spicy soup"})], {"a": ["Hot spicy soup"]}, seed=1)
    assert found["restaurants"] == 1
    assert found["rouge1"]["summary"]["value"] == found["rougeL"]["summary"]["value"] == 1.0
    assert found["rouge1"]["random_review"]["value"] == pytest.approx(2 * 3 / (6 + 3))  # 'The soup was hot and spicy.'
    assert found["rouge2"]["random_review"]["value"] == 0.0
    assert found["rouge1"]["gap"]["value"] == pytest.approx(1 / 3)


def test_restaurants_without_a_reference_are_left_out_of_the_comparison():
    written = [(split("a"), {"summary": "hot soup"}), (split("b"), {"summary": "hot soup"})]
    assert likeness(written, {"b": ["hot soup"]}, seed=1)["restaurants"] == 1


def test_rouge_is_the_mean_over_references():
    assert Rouge().f1("hot soup", ["hot soup", "cold pizza"])["rouge1"] == 0.5


def test_rouge_reads_korean():
    found = Rouge().f1("국물이 진해요", ["국물이 정말 진하고"])
    assert found["rouge1"] == pytest.approx(2 * 4 / (6 + 8))
    assert found["rouge2"] == pytest.approx(2 * 2 / (5 + 7))


def test_rouge_needs_no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("asked for an address")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    assert Rouge().f1("Hot soup. Kind staff.", ["Hot soup. Kind staff."])["rougeL"] == 1.0


@pytest.mark.parametrize(
    ("ids", "quote", "is_broken"),
    [
        (["a0"], None, False),
        ([], None, True),
        (["a0", "nobody"], None, True),
        (["a0"], "soup  was hot", False),
        (["a1"], "soup was hot", True),
    ],
)
def test_a_citation_is_looked_up(ids, quote, is_broken):
    assert broken(split(), ids, quote) is is_broken


def praise(*claims, dropped=0):
    found = [{"aspect": "taste", "claim": claim, "quote": None, "review_ids": ids} for claim, *ids in claims]
    return {"strengths": found, "dropped_claims": dropped}


def test_strengths_are_counted_over_restaurants():
    splits = [split("a"), split("b"), split("c", put_in=["Good."] * 10, ratings=[5.0] * 10)]
    unread = {}
    rows = [praise(("hot soup", "a0", "a1"), ("quick service", "a1"), dropped=3), unread, praise(dropped=1)]
    found = measure_strengths(list(zip(splits, rows, strict=True)), seed=1)
    assert (found["restaurants"], found["strengths"], found["dropped_claims"]) == (3, 2, 4)
    assert found["with_strength"]["value"] == pytest.approx(1 / 3)
    assert found["with_ten_positive"] == {"restaurants": 1, "with_strength": 0}
    assert found["reviews_behind"] == {"mean": 1.5, "median": 1.5}
    assert found["aspects"] == {"taste": 2}
    assert found["broken_citations"] == 0


def test_references_of_one_restaurant_are_kept_together(tmp_path, write_dump):
    path = write_dump(tmp_path / "r.parquet", {"restaurant_id": [7, 7, 8, 9], "summary": ["one", "two", None, " "]})
    assert read_references(path) == {"7": ["one", "two"]}


def test_references_that_are_no_text_are_an_error(tmp_path, write_dump):
    with pytest.raises(BadData, match="column 'summary' is Int64"):
        read_references(write_dump(tmp_path / "r.parquet", {"restaurant_id": [7], "summary": [1]}))


def said(request):
    """Answers in the tasks' forms, of which half are true of every review."""
    if request.task == "strengths":
        return '["dish was fine", "never said by anybody"]'
    return f" Dish at the place was fine {'indeed ' * 2}\n- nothing of this was ever written {request.key[:2]}"


def rows(restaurants=6, each=30):
    return pl.DataFrame(
        [
            {
                "restaurant_id": f"r{i}",
                "review_id": f"{i}-{j}",
                "text": f"Dish {j} at the place {i} was fine." + " It was long." * (10 * (j % 3)),
                "rating": float(1 + (i + j) % 5),
            }
            for i in range(restaurants)
            for j in range(each)
        ]
    )


@pytest.fixture
def measured(tokens, dump):
    """`measured(**evaluation)`: the figures, and the engine that was asked."""

    def run(engine=None, **what):
        engine = engine or DeterministicEngine(text=said)
        known = dump(rows().to_dict(as_series=False))
        what = Evaluation(**{"sample": 60, "restaurants": 3, **what})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sentiment, "fit", lambda raw: {one.language: Fit(0.01, 5.0, 0.95, 0.9, 80) for one in raw})
            found = evaluate(known, draw(known, what), what, Bench(tokens, engine, Silent()))
        return {"model": "none", **found}, engine

    return run


def test_all_is_asked_and_counted(measured):
    found, engine = measured(neutral=True)
    asked = [request for request in engine.submitted if request.stage != "calibrate"]
    assert sum(one["requests"] for one in found["cost"].values()) == len(asked)
    assert sum(one["prompt_tokens"] for one in found["cost"].values()) == sum(len(request.prompt) for request in asked)
    assert found["sentiment"]["all"]["reviews"] == 60
    assert sum(found["sentiment"]["confusion"]["neutral"].values()) == 15
    assert found["summary"]["support"]["own"]["value"] == found["summary"]["support"]["others"]["value"] == 0.5
    assert found["strengths"]["with_strength"]["value"] == 1.0
    assert (found["summary"]["broken_citations"], found["strengths"]["broken_citations"]) == (0, 0)


def test_left_out_reviews_are_not_shown_to_the_model(measured, tokens, dump):
    _, engine = measured(tasks=("summary",))
    known = dump(rows().to_dict(as_series=False))
    splits = draw(known, Evaluation(tasks=("summary",), restaurants=3)).splits
    prompts = "\n".join(tokens._ours.decode(request.prompt.tolist()) for request in engine.submitted if request.stage == "part")
    assert all(text in prompts for split in splits for text in split.put_in["text"])
    assert not any(text in prompts for split in splits for text in split.left_out)


def test_answers_that_were_cut_off_or_failed_are_counted(measured):
    engine = DeterministicEngine(text=said, cut=lambda r: r.stage == "part", fail=lambda r: r.stage == "find")
    found, _ = measured(engine, tasks=("summary", "strengths"))
    assert found["summary"]["answers"] == {"asked": 3, "failed": 0, "cut_off": 3, "out_of_form": 0, "empty": 0}
    assert found["strengths"]["answers"] == {"asked": 3, "failed": 3, "cut_off": 0, "out_of_form": 0, "empty": 0}
    assert found["summary"]["kinds"] == {"extractive": 3}
    assert found["summary"]["support"]["own"]["value"] is None
    assert found["strengths"]["failed"] == {"find: made to fail": 3}


def test_answers_out_of_form_are_counted(measured):
    found, _ = measured(
        DeterministicEngine(text=lambda request: "" if request.task == "summary" else "no list"), tasks=("summary", "strengths")
    )
    assert (found["summary"]["answers"]["out_of_form"], found["summary"]["answers"]["empty"]) == (3, 3)
    assert found["strengths"]["answers"]["out_of_form"] == 3


def test_only_what_was_asked_for_is_measured(measured):
    found, engine = measured(tasks=("sentiment",))
    assert {request.task for request in engine.submitted} == {"sentiment"}
    assert set(found) == {"model", "calibration", "sentiment", "cost"}
    assert "summary" not in page(found)


def test_the_same_seed_gives_the_same_figures(measured):
    one, other = (measured()[0] for _ in range(2))
    assert {name: one[name] for name in TASKS} == {name: other[name] for name in TASKS}


def test_the_table_shows_the_figures_of_the_json_in_100_columns(measured):
    found, _ = measured(neutral=True, references={f"r{i}": ["Dish was fine."] for i in range(3)})
    shown = page(json.loads(json.dumps(found)))
    assert max(map(len, shown.splitlines())) <= 100
    lines = {line.strip().split("  ")[0]: line for line in shown.splitlines()}
    everything = found["sentiment"]["all"]
    for name in ("accuracy", "balanced_accuracy", "area_under_curve"):
        assert share(everything[name]) in lines["all"]
    for name, part in found["sentiment"]["by_length"].items():
        assert share(part["accuracy"]) in lines[name]
    assert [int(n) for n in lines["negative is labelled"].split()[3:]] == list(found["sentiment"]["confusion"]["negative"].values())
    for side in ("own", "others", "gap"):
        assert share(found["summary"]["support"][side]) in lines["generated sentences"]
        assert share(found["strengths"]["support"][side]) in lines["claims"]
    assert share(found["summary"]["left_out_reviews"]["rouge1"]["gap"]) in lines["ROUGE-1 with left-out reviews"]
    assert share(found["summary"]["references"]["rougeL"]["summary"]) in lines["ROUGE-L with reference summaries"]
    cost = found["cost"]["summary, strengths"]
    assert lines["summary, strengths"].split()[2] == f"{cost['requests']:,}"
    assert f"{cost['prompt_tokens']:,}" in lines["summary, strengths"]


def test_columns_are_aligned():
    lines = aligned([("", "reviews"), ("all", "1,000"), ("under 100", "7")]).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3
    assert lines[1].startswith("  all ")


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, ".500"), (-0.25, "-.250"), (1.0, "1.000"), (-0.0001, ".000"), (10.5, "10.500"), (None, "-")]
)
def test_shares_are_written_as_in_tables_of_statistics(value, text):
    assert point(value) == text


def size(image):
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", image[16:24])


def test_the_picture_has_a_panel_per_question(measured):
    whole, _ = measured()
    alone, _ = measured(tasks=("sentiment",))
    assert size(draw_plot(whole)) == (round(2 * WIDTH * DPI), round(2 * HEIGHT * DPI))
    assert size(draw_plot(alone)) == (round(2 * WIDTH * DPI), round(HEIGHT * DPI))


def test_the_picture_shows_the_figures(measured):
    from matplotlib.image import imread

    whole, _ = measured()
    other = json.loads(json.dumps(whole))
    other["sentiment"]["confusion"]["positive"]["positive"] += 50
    one, two = (imread(io.BytesIO(draw_plot(found))) for found in (whole, other))
    assert (one != two).any()
    assert len({tuple(colour) for colour in one.reshape(-1, one.shape[2])[::97]}) > 10, "not empty"


def test_a_language_the_model_does_not_read_can_be_shown(measured):
    found, _ = measured(DeterministicEngine(text=said, cut=lambda request: request.task != "sentiment"))
    assert re.search(r"generated sentences +0 +- +- +-", page(found))
    assert size(draw_plot(found))[0] > 0


def test_figures_and_picture_are_written(measured, tmp_path):
    found, _ = measured(tasks=("sentiment",))
    output.check(tmp_path / "new" / "folder", TASKS)
    path = output.write(tmp_path / "new" / "folder", found)
    assert json.loads(path.read_text()) == json.loads(json.dumps(found))
    assert size((path.parent / "evaluation.png").read_bytes())
    assert sorted(file.name for file in path.parent.iterdir()) == ["evaluation.json", "evaluation.png"]


class Machine(FakeMachine):
    def engine(self, model):
        return DeterministicEngine(text=said)


@pytest.fixture
def command(model, tmp_path, write_dump, monkeypatch):
    """`command(*arguments)`: what `evaluate` prints of a dump, with no model behind it."""
    dump = write_dump(tmp_path / "dump.parquet", rows().to_dict(as_series=False))
    monkeypatch.setattr("jobs.evaluate.make_any_machine", lambda **_: Machine(model))
    monkeypatch.setattr("jobs.evaluate.StopSignals", Stop)
    monkeypatch.setattr(sentiment, "fit", lambda raw: {one.language: Fit(0.01, 5.0, 0.95, 0.9, 80) for one in raw})

    def run(*arguments):
        done = CliRunner().invoke(evaluate_command, [dump, "--restaurants", "2", *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.stdout

    return run


def test_the_command_prints_the_table_and_last_the_path_of_the_figures(command, tmp_path):
    shown = command("--output", tmp_path / "out", "--sample", "40")
    *table, last = shown.splitlines()
    found = json.loads(Path(last).read_text())
    assert last == str(tmp_path / "out" / "evaluation.json")
    assert "\n".join(table) == page(found) + "\n"
    assert (found["sample"], found["seed"], found["model"]) == (40, 7, "embedded")
    assert [Path(file["path"]).name for file in found["inputs"]] == ["dump.parquet"]


def test_the_command_prints_json_alone_where_that_is_asked_for(command):
    found = json.loads(command("--json", "--tasks", "sentiment", "--sample", "30"))
    assert found["sentiment"]["all"]["reviews"] == 30
