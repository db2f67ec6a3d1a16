"""Plans, forms and parsers of the tasks, without a model: requests are answered by hand."""

import math

import pytest
from deterministic_engine import DeterministicEngine

from pipeline.errors import TaskFailed
from pipeline.order import ORDERS
from pipeline.records import Answer, Restaurant, Review, Strength
from pipeline.restaurants import tokenise
from pipeline.run import Loop
from pipeline.tasks import calibration, sentiment, strengths, summary
from pipeline.tasks.calibration import Anchor, Fit

READS = {"en": Fit(1.0, 0.0, auc=0.95, accuracy=0.9, anchors=10)}


def restaurant(tokens, *texts, language="en", budget=1024):
    reviews = tuple(Review(f"r{i}", text, language) for i, text in enumerate(texts))
    (made,) = tokenise([Restaurant("place", reviews)], tokens, budget)
    return made


def run(task, tokenised, engine=None):
    (outcome,) = Loop([task], ORDERS["restaurant"], engine or DeterministicEngine()).run(iter([tokenised]))
    return outcome


def answer_all(plan, answers):
    """Sends answers in the order of requests; returns the plan's result."""
    requests = next(plan)
    try:
        plan.send({request.key: one for request, one in zip(requests, answers, strict=True)})
    except StopIteration as end:
        return end.value
    raise AssertionError("the plan asks again")


def word_answer(tokens, request, satisfied):
    """An answer that finds the satisfied words e^satisfied times as likely."""
    yes = {tokens.word(pair[0]) for pair in sentiment.QUESTIONS["en"].pairs}
    return Answer(request.key, logprobs={t: satisfied if t in yes else 0.0 for t in request.sampling.choices}, finish_reason="stop")


@pytest.mark.parametrize(("lean", "label"), [(3.0, "positive"), (-3.0, "negative"), (0.05, "neutral")])
def test_the_label_follows_the_calibrated_score(tokens, lean, label):
    task = sentiment.SentimentTask(tokens, READS)
    plan = task.plan(restaurant(tokens, "Some soup."))
    (request,) = next(plan)
    with pytest.raises(StopIteration) as end:
        plan.send({request.key: word_answer(tokens, request, lean)})
    (found,) = end.value.value
    assert found.label == label


def test_the_boundary_is_where_the_anchors_put_it(tokens):
    raw = {Anchor(f"good {i}", 1, "en"): 5.0 + i / 10 for i in range(20)} | {Anchor(f"bad {i}", 0, "en"): 3.0 - i / 10 for i in range(20)}
    fit = calibration.fit(raw)["en"]
    assert fit.readable
    assert math.isclose(fit.score(4.0), 0.0, abs_tol=0.2)
    assert fit.score(5.0) > 0 > fit.score(3.0)


def test_a_language_the_model_does_not_read_stays_unlabelled_with_a_reason(tokens):
    coin = {Anchor(f"{label}{i}", label, "ko"): float(i % 5) for i in range(20) for label in (0, 1)}
    task = sentiment.SentimentTask(tokens, calibration.fit(coin) | READS)
    with pytest.raises(TaskFailed, match="does not read Korean"):
        next(task.plan(restaurant(tokens, "맛있어요", language="ko")))


def test_a_review_whose_answer_failed_is_unlabelled_and_the_others_are_not(tokens):
    task = sentiment.SentimentTask(tokens, READS)
    plan = task.plan(restaurant(tokens, "Good soup.", "Bad soup."))
    requests = next(plan)
    answers = {requests[0].key: word_answer(tokens, requests[0], 3.0), requests[1].key: Answer(requests[1].key, error="lost")}
    with pytest.raises(StopIteration) as end:
        plan.send(answers)
    assert [(one.review_id, one.label) for one in end.value.value] == [("r0", "positive"), ("r1", None)]


def test_written_anchors_cover_both_languages_and_both_sides():
    anchors = calibration.anchors()
    for language, least in (("en", 80), ("ko", 40)):
        labels = [anchor.label for anchor in anchors if anchor.language == language]
        assert len(labels) >= least
        assert 0.4 <= sum(labels) / len(labels) <= 0.6
    assert len({anchor.text for anchor in anchors}) == len(anchors)


def test_sentiment_asks_each_different_review_once(tokens):
    engine = DeterministicEngine()
    outcome = run(sentiment.SentimentTask(tokens, READS), restaurant(tokens, "Same.", "Same.", "Other."), engine)
    assert len(engine.submitted) == 2
    assert len(outcome.results["sentiment"]) == 3


def test_a_single_chunk_needs_a_single_summary_request(tokens):
    engine = DeterministicEngine()
    outcome = run(summary.SummaryTask(tokens), restaurant(tokens, "Good soup.", "Nice people."), engine)
    assert [request.stage for request in engine.submitted] == ["part"]
    assert len(outcome.results["summary"].sentences) == 2


def test_many_chunks_are_merged_until_one_summary_is_left(tokens):
    engine = DeterministicEngine()
    outcome = run(
        summary.SummaryTask(tokens), restaurant(tokens, *(f"Dish {i} was fine and warm." for i in range(300)), budget=128), engine
    )
    stages = [request.stage for request in engine.submitted]
    assert outcome.status == "ok"
    assert stages.count("part") > 10
    assert 1 < stages.count("merge") < stages.count("part")


def test_a_cut_off_part_fails_the_summary_with_its_reason(tokens):
    outcome = run(summary.SummaryTask(tokens), restaurant(tokens, "Good soup."), DeterministicEngine(cut=lambda request: True))
    assert outcome.errors == {"summary": "part: answer cut off at 12 tokens"}


def test_repeated_summary_sentences_are_left_out():
    found = summary.parse("The soup is hot.\n- the soup is hot\n- Service is slow")
    assert found.sentences == ("The soup is hot.", "Service is slow")
    assert found.text == "The soup is hot. Service is slow."


def test_an_answer_without_a_sentence_is_no_summary():
    with pytest.raises(TaskFailed):
        summary.parse(" \n- \n")


def test_tasks_over_a_chunk_share_all_but_the_instruction(tokens):
    made = restaurant(tokens, "Good soup.", "Nice people.", "Too loud.")
    (first,) = next(summary.SummaryTask(tokens).plan(made))
    (second,) = next(strengths.StrengthsTask(tokens).plan(made))
    assert first.shared == second.shared > 0
    assert (first.prompt[: first.shared] == second.prompt[: second.shared]).all()


def test_claims_name_reviews_by_their_number_in_the_chunk():
    found, dropped = strengths.parse("taste: the soup is praised [1, 3]\n- service: quick [2]", ["a", "b", "c"])
    assert found == [Strength("taste", "the soup is praised", ("a", "c")), Strength("service", "quick", ("b",))]
    assert dropped == 0


@pytest.mark.parametrize("line", ["taste: the soup [7]", "magic: the soup [1]", "no form at all", "taste: the soup []"])
def test_a_claim_without_an_existing_review_or_aspect_is_dropped_and_counted(line):
    assert strengths.parse(line, ["a", "b"]) == ([], 1)


def test_claims_about_one_aspect_are_merged_and_support_counts_distinct_reviews():
    merged = strengths.merge(
        [Strength("taste", "good", ("a",)), Strength("price", "fair", ("z",)), Strength("taste", "tasty soup", ("a", "b"))]
    )
    assert merged == [Strength("taste", "tasty soup", ("a", "b")), Strength("price", "fair", ("z",))]


def test_strengths_of_all_chunks_come_together(tokens):
    outcome = run(strengths.StrengthsTask(tokens), restaurant(tokens, *(f"Dish {i} was fine." for i in range(120))))
    by_aspect = {one.aspect: one for one in outcome.results["strengths"].found}
    assert set(by_aspect) == {"taste", "service"}
    assert len(by_aspect["taste"].review_ids) == len({request.request.chunk for request in outcome.asked})


def test_no_request_is_longer_than_chunk_budget_and_overhead(tokens):
    engine = DeterministicEngine()
    made = restaurant(tokens, *("A rather long story about soup. " * 40 for _ in range(9)), "word " * 5000, budget=512)
    for task in (summary.SummaryTask(tokens), strengths.StrengthsTask(tokens)):
        run(task, made, engine)
        assert max(len(request.prompt) + request.sampling.max_tokens for request in engine.submitted) <= 512 + task.overhead
