"""Plans, forms and parsers of the tasks, without a model: requests are answered by hand."""

import math
from dataclasses import replace

import pytest
from deterministic_engine import DeterministicEngine

from pipeline.errors import TaskFailed
from pipeline.forms import in_form
from pipeline.order import ORDERS
from pipeline.records import Answer, Restaurant, Review
from pipeline.restaurants import tokenise
from pipeline.run import Loop
from pipeline.tasks import calibration, claims, sentiment, strengths, summary
from pipeline.tasks.aspects import ASPECTS, aspect_of
from pipeline.tasks.calibration import Anchor, Fit
from pipeline.tasks.claims import Claim
from pipeline.tasks.overlap import quote, spoken, supporting

READS = {"en": Fit(1.0, 0.0, auc=0.95, accuracy=0.9, anchors=10)}


LIKES = dict.fromkeys(("en", "ko"), replace(READS["en"], slope=0.01, intercept=5.0))
"""Every review is a positive one."""


def strengths_task(tokens):
    return strengths.StrengthsTask(tokens, set(LIKES), sentiment.SentimentTask(tokens, LIKES))


def restaurant(tokens, *texts, language="en", budget=1024):
    reviews = tuple(Review(f"r{i}", text, language) for i, text in enumerate(texts))
    (made,) = tokenise([Restaurant("place", reviews)], tokens, budget)
    return made


def run(task, tokenised, engine=None):
    (outcome,) = Loop([task], ORDERS["restaurant"], engine or DeterministicEngine()).run(iter([tokenised]))
    return outcome


def word_answer(tokens, request, satisfied):
    """An answer that finds the satisfied words, all together, e^satisfied times as likely as the others."""
    yes = {tokens.word(word) for word in sentiment.QUESTIONS["en"].words["satisfied"]} - {None}
    satisfied -= math.log(len(yes) / (len(request.sampling.choices) - len(yes)))
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
    anchors = calibration.anchors(["en", "ko"])
    for language in ("en", "ko"):
        labels = [anchor.label for anchor in anchors if anchor.language == language]
        assert len(labels) >= 120
        assert 0.45 <= sum(labels) / len(labels) <= 0.55
    assert len({anchor.text for anchor in anchors}) == len(anchors)


def test_sentiment_asks_each_different_review_once(tokens):
    engine = DeterministicEngine()
    outcome = run(sentiment.SentimentTask(tokens, READS), restaurant(tokens, "Same.", "Same.", "Other."), engine)
    assert len(engine.submitted) == 2
    assert len(outcome.results["sentiment"]) == 3


def dishes(count):
    return [f"Dish {i} was fine and warm." for i in range(count)]


def words(request):
    name = request.key.translate(str.maketrans("0123456789", "ghijklmnop"))  # numbers are held against the reviews
    return f" Dish {name[:4]} was fine.\n- warm Dish {name[4:8]}\n- all fine and warm\n- nothing of this was ever written"


def test_a_single_chunk_needs_a_single_summary_request(tokens):
    engine = DeterministicEngine(text=words)
    outcome = run(summary.SummaryTask(tokens, {"en"}), restaurant(tokens, *dishes(3)), engine)
    assert [request.stage for request in engine.submitted] == ["part"]
    assert outcome.results["summary"].kind == "generated"


def test_many_chunks_are_merged_until_one_summary_is_left(tokens):
    engine = DeterministicEngine(text=words)
    outcome = run(summary.SummaryTask(tokens, {"en"}), restaurant(tokens, *dishes(300), budget=128), engine)
    stages = [request.stage for request in engine.submitted]
    assert outcome.status == "ok"
    assert stages.count("part") > 10
    assert 1 < stages.count("merge") < stages.count("part")


def test_sentences_that_no_review_supports_are_dropped_and_the_share_is_kept(tokens):
    found = run(summary.SummaryTask(tokens, {"en"}), restaurant(tokens, *dishes(3)), DeterministicEngine(text=words)).results["summary"]
    assert not any("nothing of this" in sentence for sentence in found.sentences)
    assert 0.5 < found.support < 1
    assert all(found.review_ids)


@pytest.mark.parametrize(
    ("text", "cut", "kind"),
    [
        ("dish was fine and warm\n- moon cheese rockets", False, "mixed"),
        ("moon cheese rockets", False, "extractive"),
        ("dish", True, "extractive"),
    ],
)
def test_too_few_supported_sentences_are_filled_up_from_the_reviews(tokens, text, cut, kind):
    engine = DeterministicEngine(text=lambda request: text, cut=lambda request: cut)
    texts = ["Soup with noodles.", "Kind people everywhere!", "Dish was fine and warm."]
    found = run(summary.SummaryTask(tokens, {"en"}), restaurant(tokens, *texts), engine).results["summary"]
    assert found.kind == kind
    assert set(found.sentences) & set(texts)
    assert all(found.review_ids)


def test_a_language_the_model_does_not_read_is_summarised_from_the_reviews_without_asking(tokens):
    engine = DeterministicEngine()
    made = restaurant(tokens, "국물이 진해요. 양이 많아요.", "국물이 진하고 맛있어요.", language="ko")
    found = run(summary.SummaryTask(tokens, {"en"}), made, engine).results["summary"]
    assert (engine.submitted, found.kind, found.support) == ([], "extractive", None)
    assert found.sentences[0] in {"국물이 진해요.", "국물이 진하고 맛있어요.", "양이 많아요."}


def test_a_failed_part_fails_the_summary_with_its_reason(tokens):
    engine = DeterministicEngine(fail=lambda request: True)
    outcome = run(summary.SummaryTask(tokens, {"en"}), restaurant(tokens, "Good soup."), engine)
    assert outcome.errors == {"summary": "made to fail"}


def test_sentences_that_repeat_or_run_in_circles_and_single_words_are_left_out():
    said = " The soup is hot.\n- the hot soup\n- pasta, pasta is good, pasta, pasta is good, pasta\n- Great. Service slow"
    assert summary.sentences_of(Answer("k", said, finish_reason="stop")) == ["The soup is hot.", "Service slow"]


def test_a_single_word_of_a_review_is_taken_only_where_there_is_nothing_else():
    telling = {"Good soup here.", "The kind staff helped.", "Fair prices at noon.", "Tables are small."}
    long = Review("a", " ".join(["Good.", *sorted(telling)]), "en")
    assert set(summary.extract([long, Review("b", "Good!", "en")])) == telling
    assert summary.extract([Review("b", "Good!", "en")]) == {"Good!": "b"}


KOREAN = ("국물이 진하고 맛있어요.", "직원분들이 친절해요.", "양이 많아요.")


def test_a_restaurant_is_summarised_in_the_language_of_most_of_its_reviews(tokens):
    reviews = [Review(f"r{i}", text, "ko") for i, text in enumerate(KOREAN)] + [Review("r9", "The soup was hot.", "en")]
    (made,) = tokenise([Restaurant("place", tuple(reviews))], tokens, 1024)
    engine = DeterministicEngine(text=lambda request: " 국물이 진하고 맛있어요\n- 직원분들이 친절해요\n- 양이 많아요")
    found = run(summary.SummaryTask(tokens, {"en", "ko"}), made, engine).results["summary"]
    (request,) = engine.submitted
    assert summary.WORDING["ko"].part in tokens._auto.decode(request.prompt)
    assert request.sampling == summary.WORDING["ko"].sampling
    assert (found.kind, found.review_ids) == ("generated", (("r0",), ("r1",), ("r2",)))


@pytest.mark.parametrize(
    ("language", "fits"),
    [
        ("en", " The dumplings come in a rich broth\n- Guests wait for a table at noon"),
        ("ko", " 국물이 진하고 면이 쫄깃함\n- 점심에는 줄을 서야 함"),
    ],
)
def test_the_form_of_an_answer_takes_facts_of_the_length_that_its_language_has(language, fits):
    sampling = summary.WORDING[language].sampling
    answer = Answer("k", fits, output_tokens=30, finish_reason="stop")
    assert in_form(sampling, answer)
    assert not in_form(sampling, replace(answer, text=fits.replace("\n", " ")))
    assert not in_form(sampling, replace(answer, text=fits + "\n- " + "길" * 200))


@pytest.mark.parametrize(("language", "texts"), [("en", ("Good soup.", "Nice people.", "Too loud.")), ("ko", KOREAN)])
def test_tasks_over_a_chunk_share_all_but_the_instruction(tokens, language, texts):
    made = restaurant(tokens, *texts, language=language)
    (first,) = next(summary.SummaryTask(tokens, {"en", "ko"}).plan(made))
    second, *_ = next(strengths_task(tokens).plan(made))
    assert first.shared == second.shared > 0
    assert (first.prompt[: first.shared] == second.prompt[: second.shared]).all()


def test_claims_are_kept_with_the_reviews_that_support_them():
    texts = {4: "The soup was delicious.", 7: "Delicious soup, kind staff", 9: "Too loud"}
    reviews = {place: Review(str(place), text, "en") for place, text in texts.items()}
    found = claims.verify(["delicious soup", "kind staff", "rooftop garden"], reviews)
    assert found == [Claim("delicious soup", (4, 7)), Claim("kind staff", (7,))]


def test_words_of_two_sentences_do_not_support_a_claim():
    reviews = {0: Review("0", "Good music. The food came late.", "en"), 1: Review("1", "The food was good", "en")}
    assert claims.verify(["good food"], reviews) == [Claim("good food", (1,))]


def test_the_review_that_says_most_of_a_claim_comes_first_and_is_quoted():
    texts = ["Tasty soup and bread", "Tasty soup with fresh bread"]
    reviews = {place: Review(str(place), text, "en") for place, text in enumerate(texts)}
    assert claims.verify(["tasty soup, fresh bread"], reviews) == [Claim("tasty soup, fresh bread", (1, 0))]


@pytest.mark.parametrize("end", [", the bill's", "...", " and the", " delici", ",superdupa", " I"])
def test_a_claim_ends_where_the_reviews_stop_saying_it(end):
    reviews = {0: Review("0", "The soup is tasty and the staff are kind", "en")}
    assert claims.verify([f"Tasty soup and kind staff{end}"], reviews) == [Claim("Tasty soup and kind staff", (0,))]


@pytest.mark.parametrize(
    ("claim", "sentence", "language"),
    [("great food", "The food wasn't great either.", "en"), ("good service", "Service not good.", "en"), ("친절해요", "안 친절해요", "ko")],
)
def test_a_sentence_that_denies_a_claim_does_not_support_it(claim, sentence, language):
    reviews = {0: Review("0", sentence, language), 1: Review("1", f"{claim}!", language)}
    assert claims.verify([claim], reviews) == [Claim(claim, (1,))]


def test_claims_of_which_one_denies_the_other_stay_apart():
    assert claims.merge([Claim("The food was great", (1,)), Claim("The food was not great", (7,))]) == [
        Claim("The food was great", (1,)),
        Claim("The food was not great", (7,)),
    ]


def test_a_quote_does_not_deny_what_its_claim_says():
    text = "The service wasn't good. But for dinner last weekend the service was good and the waiter smiled."
    assert quote("Good service", text, 200) == "But for dinner last weekend the service was good and the waiter smiled."
    assert quote("Service not good", text, 200) == "The service wasn't good."
    assert quote("Good service", "The service wasn't good.", 200) == "The service wasn't good."


@pytest.mark.parametrize(
    ("sentence", "review", "supports"),
    [
        ("The pizza is good", "The pizza was good and costs 200 rupees", True),
        ("The pizza is not good", "The pizza was good and costs 200 rupees", False),
        ("The pizza is good", "The pizza was not good", False),
        ("The pizza is not good", "The pizza wasn't good. Nice view.", True),
        ("The pizza costs 900 rupees", "The pizza was good and costs 200 rupees", False),
        ("The pizza costs 1,200 rupees", "A pizza that costs 1200 rupees", True),
        ("국물이 진하지 않아요", "국물이 진해요", False),
    ],
)
def test_a_review_supports_a_sentence_with_its_numbers_and_denials(sentence, review, supports):
    assert supporting(sentence, [spoken(review)]) == ([0] if supports else [])


def test_a_summary_is_filled_in_the_language_of_most_reviews(tokens):
    reviews = [Review(f"r{i}", text, "ko") for i, text in enumerate(KOREAN)]
    reviews += [Review(f"e{i}", "The soup was good.", "en") for i in range(2)]
    (made,) = tokenise([Restaurant("place", tuple(reviews))], tokens, 1024)
    found = run(summary.SummaryTask(tokens, {"en"}), made, DeterministicEngine()).results["summary"]
    assert set(found.sentences) <= set(KOREAN)
    cut_off = DeterministicEngine(text=lambda request: " nothing that a review says")
    assert set(run(summary.SummaryTask(tokens, {"en", "ko"}), made, cut_off).results["summary"].sentences) <= set(KOREAN)


def test_sentences_that_reviews_lend_are_letter_for_letter_and_marked_where_cut():
    odd, long = "The  soup\twas hot.", " ".join(f"word{i}" for i in range(60))
    found = summary.extract([Review("a", odd, "en"), Review("b", long, "en")])
    assert odd in found
    (short,) = set(found) - {odd}
    assert short.endswith("…")
    assert long.startswith(short.removesuffix("…"))
    assert long[len(short) - 1] == " "
    assert len(short) <= summary.MOST_LETTERS + 1


def test_a_claim_that_is_no_praise_is_dropped_and_counted(tokens):
    class Blaming(DeterministicEngine):
        def _answer(self, request):
            return word_answer(tokens, request, -2000.0) if request.stage == "tone" else super()._answer(request)

    made = restaurant(tokens, "Dish one was fine.", "Dish two was fine.")
    praised, blamed = (run(strengths_task(tokens), made, engine()).results["strengths"] for engine in (DeterministicEngine, Blaming))
    assert [one.claim for one in praised.found][:1] == ["Dish was fine"]
    assert [one.claim for one in blamed.found] == []
    assert blamed.dropped == praised.dropped + 1


def test_where_few_claims_hold_sentences_of_the_reviews_stand_in_for_them(tokens):
    engine = DeterministicEngine(text=lambda request: '["invented praise only"]')
    found = run(strengths_task(tokens), restaurant(tokens, "Warm bread. Kind staff!", "Warm bread and soup"), engine).results["strengths"]
    assert {one.claim for one in found.found} == {"Warm bread", "Kind staff"}
    assert all(one.claim in one.quote for one in found.found)
    assert found.dropped == 1


@pytest.mark.parametrize(
    ("claim", "surest", "aspect"),
    [
        ("A cool place to hang out", ("taste", "service"), "atmosphere"),
        ("Great value for money", ("taste",), "price"),
        ("Good food and service", ("price", "service", "taste"), "service"),
        ("Loved it", ("taste", "service"), "taste"),
        ("Loved it", (), "other"),
        ("직원분들이 친절해요", ("taste",), "service"),
    ],
)
def test_a_claim_belongs_to_the_aspect_that_it_names_else_to_the_surest_one(claim, surest, aspect):
    assert aspect_of(claim, surest) == aspect


@pytest.mark.parametrize("text", ["no json", '{"claim": "x"}', "[1, 2]", '["cut off'])
def test_an_answer_in_another_form_fails_the_task(text):
    with pytest.raises(TaskFailed, match="not in the form"):
        claims.parse(text)


def test_claims_that_say_the_same_are_merged_and_support_counts_distinct_reviews():
    merged = claims.merge([Claim("tasty soup", (1,)), Claim("fair price", (9,)), Claim("soup tasty", (2, 1))])
    assert merged == [Claim("tasty soup", (1, 2)), Claim("fair price", (9,))]


def test_strengths_of_all_chunks_come_together_with_an_aspect_each(tokens):
    outcome = run(strengths_task(tokens), restaurant(tokens, *dishes(120)))
    found = outcome.results["strengths"]
    chunks = sum(asked.request.stage == "find" for asked in outcome.asked)
    assert [one.claim for one in found.found] == ["Dish was fine"]
    assert len(found.found[0].review_ids) == 120
    assert found.found[0].aspect in ASPECTS
    assert found.dropped == chunks > 1


def test_a_cut_off_answer_fails_strengths_with_its_reason(tokens):
    outcome = run(strengths_task(tokens), restaurant(tokens, "Good soup."), DeterministicEngine(cut=lambda request: True))
    assert outcome.errors == {"strengths": "find: answer cut off at 12 tokens"}


def test_no_request_is_longer_than_chunk_budget_and_overhead(tokens):
    engine = DeterministicEngine(text=words)
    made = restaurant(tokens, *("A rather long story about soup. " * 40 for _ in range(9)), "word " * 5000, budget=512)
    for task in (summary.SummaryTask(tokens, {"en"}), strengths_task(tokens)):
        run(task, made, engine)
        assert max(len(request.prompt) + request.sampling.max_tokens for request in engine.submitted) <= 512 + task.overhead
        engine.submitted.clear()
