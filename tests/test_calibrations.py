"""Which question a language is asked, what its boundary is fitted on, and under which name the fit is kept."""

import json
import math
import random
from dataclasses import replace

import polars as pl
import pytest
from deterministic_engine import DeterministicEngine
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tasks import READS, restaurant, word_answer
from tokenizers import Tokenizer, decoders, models
from tokenizers import pre_tokenizers as splitting

from pipeline import watched
from pipeline.calibrations import fits_for, keep, kept, name_of
from pipeline.errors import BadConfiguration, EngineDied, Stopped
from pipeline.rated import LEAST_RATED, LONGEST, MOST_RATED, rated
from pipeline.store import Forgetful
from pipeline.tasks import calibration, sentiment
from pipeline.tasks.calibration import Anchor, Fit, anchors
from pipeline.tasks.question import asker_in
from pipeline.tokens import Tokens

IDENTITY = "ab" * 16


def vocabulary(folder, *words):
    """A tokenizer of bytes and these words."""
    pieces = [("<unk>", 0.0), *((f"<0x{byte:02X}>", -9.0) for byte in range(256)), *((word, -1.0) for word in words)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=True))
    tokenizer.pre_tokenizer = splitting.Sequence([])
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return Tokens(folder)


def ending(tokens, language):
    """How the prompt over a review of this language ends."""
    fits = {language: READS["en"]}
    (request,) = next(sentiment.SentimentTask(tokens, fits).plan(restaurant(tokens, "맛 soup", language=language)))
    return tokens._ours.decode(request.prompt.tolist())


def test_each_language_is_asked_in_its_own_words_with_its_own_examples(tmp_path):
    tokens = vocabulary(tmp_path, " happy", " unhappy", " 좋", " 나")
    for language, question in sentiment.QUESTIONS.items():
        assert ending(tokens, language) == f"{question.before}맛 soup{question.after}"


def test_a_vocabulary_without_a_korean_word_for_one_meaning_is_asked_in_english(tmp_path, tokens):
    english = sentiment.QUESTIONS["en"]
    for some in (vocabulary(tmp_path, " happy", " unhappy", " 좋"), tokens):
        assert ending(some, "ko") == f"{english.before}맛 soup{english.after}"


def test_a_vocabulary_without_any_word_of_the_question_is_a_clear_error(tmp_path):
    with pytest.raises(BadConfiguration, match="no word for 'satisfied'"):
        asker_in("ko", sentiment.QUESTIONS, vocabulary(tmp_path, " 좋"))


@pytest.mark.parametrize("language", sentiment.QUESTIONS)
def test_every_example_ends_in_a_word_of_one_meaning_and_both_meanings_occur(language):
    question = sentiment.QUESTIONS[language]
    verdicts = question.before.split(question.after)[1:]
    meant = [{meaning for meaning, words in question.words.items() if verdict.startswith(words)} for verdict in verdicts]
    assert all(len(one) == 1 for one in meant)
    assert set.union(*meant) == {"satisfied", "dissatisfied"}


def test_calibration_asks_each_language_as_its_reviews_are_asked(tmp_path):
    tokens = vocabulary(tmp_path, " happy", " unhappy", " 좋", " 나")
    some = [Anchor("soup", 1, "en"), Anchor("맛", 1, "ko")]
    requests = next(sentiment.calibrate(tokens, some))
    asked = [tokens._ours.decode(request.prompt.tolist()) for request in requests]
    assert asked == [f"{sentiment.QUESTIONS[one.language].before}{one.text}{sentiment.QUESTIONS[one.language].after}" for one in some]


values = st.floats(-8, 8, allow_nan=False)


@settings(max_examples=30)
@given(good=st.lists(values, min_size=2, max_size=30), bad=st.lists(values, min_size=2, max_size=30), copies=st.integers(2, 9))
def test_the_boundary_does_not_move_toward_the_rarer_label(good, bad, copies):
    def fit(times):
        raw = {Anchor(f"good {i} {k}", 1, "en"): value + 2 for i, value in enumerate(good) for k in range(times)}
        return calibration.fit(raw | {Anchor(f"bad {i}", 0, "en"): value - 2 for i, value in enumerate(bad)})["en"]

    alone, repeated = fit(1), fit(copies)
    if min(alone.slope, repeated.slope) > 0.5:
        assert math.isclose(-alone.intercept / alone.slope, -repeated.intercept / repeated.slope, abs_tol=0.01)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), shift=values)
def test_a_shift_of_all_answers_changes_no_label(seed, shift):
    chance = random.Random(seed)
    raw = {Anchor(f"{label} {i}", label, "en"): chance.gauss(2 * label, 1) for label in (0, 1) for i in range(20)}
    fit, moved = (calibration.fit({one: value + by for one, value in raw.items()})["en"] for by in (0.0, shift))
    assert all(math.isclose(fit.score(value), moved.score(value + shift), abs_tol=0.02) for value in raw.values())


def test_a_language_with_one_label_only_has_no_fit():
    assert calibration.fit({Anchor("good", 1, "ko"): 1.0, Anchor("fine", 1, "ko"): 2.0}) == {}


def reviews(good, bad, language="en", middle=0, rating=(5.0, 1.0)):
    stars = [rating[0]] * good + [rating[1]] * bad + [3.0] * middle
    texts = [f"{language} review {i}" for i in range(len(stars))]
    return pl.DataFrame(
        {"text": texts, "language": [language] * len(texts), "rating": stars},
        schema={"text": pl.String, "language": pl.String, "rating": pl.Float64},
    )


def test_rated_reviews_are_bounded_labelled_by_their_stars_and_never_those_with_three():
    found = rated([reviews(300, 50, middle=70, rating=(3.5, 2.5))], {"en"})
    assert [sum(one.label == label for one in found) for label in (0, 1)] == [50, MOST_RATED]
    numbers = {int(one.text.split()[-1]): one.label for one in found}
    assert all((label == 1) == (number < 300) and number < 350 for number, label in numbers.items())


@settings(max_examples=20)
@given(seed=st.integers(0, 99), added=st.integers(0, 30))
def test_the_sample_of_rated_reviews_stays_whatever_the_order_and_loses_little_to_new_ones(seed, added):
    before = rated([reviews(500, 500)], {"en"})
    more = pl.concat([reviews(500, 500), reviews(added, 0).with_columns(pl.col("text") + " new")])
    after = rated([more.sample(fraction=1, shuffle=True, seed=seed)], {"en"})
    assert len(set(before) - set(after)) <= added
    assert added or before == after


def test_too_few_of_one_label_are_no_sample_and_long_or_repeated_texts_do_not_count():
    assert rated([reviews(500, LEAST_RATED - 1)], {"en"}) == []
    assert len(rated([reviews(500, LEAST_RATED)], {"en"})) == MOST_RATED + LEAST_RATED
    padded = reviews(500, LEAST_RATED).with_columns(
        pl.when(pl.col("rating") < 3).then(pl.col("text").str.pad_end(LONGEST + 1)).otherwise("text")
    )
    assert rated([padded], {"en"}) == []
    same = pl.concat([reviews(500, 0), reviews(0, 1).sample(100, with_replacement=True)])
    assert rated([same], {"en"}) == []


def test_fits_of_anchors_and_of_ratings_are_kept_apart(tmp_path):
    one, other = Fit(1.0, 0.0, 0.9, 0.9, 10), Fit(2.0, 0.0, 0.9, 0.9, 400, source="ratings")
    for fit in (one, other):
        keep(tmp_path, {"en": fit}, IDENTITY)
    assert kept(tmp_path, {"en"}, IDENTITY) == {"en": one}
    assert kept(tmp_path, {"en"}, IDENTITY, "ratings") == {"en": other}


def test_of_two_runs_that_fit_at_the_same_time_the_first_to_keep_its_fit_decides(tmp_path):
    first, second = Fit(1.0, 0.0, 0.9, 0.9, 10), Fit(2.0, 0.0, 0.9, 0.9, 10)
    korean = Fit(3.0, 0.0, 0.9, 0.9, 10)
    assert keep(tmp_path, {"en": first}, IDENTITY, replace_others=False) == {"en": first}
    assert keep(tmp_path, {"en": second, "ko": korean}, IDENTITY, replace_others=False) == {"en": first, "ko": korean}
    assert kept(tmp_path, {"en", "ko"}, IDENTITY) == {"en": first, "ko": korean}
    assert keep(tmp_path, {"en": second}, IDENTITY) == kept(tmp_path, {"en"}, IDENTITY) == {"en": second}


def test_a_name_depends_on_model_language_source_and_wording(monkeypatch):
    names = [name_of("en", IDENTITY), name_of("ko", IDENTITY), name_of("en", "cd" * 16), name_of("en", IDENTITY, "ratings")]
    monkeypatch.setitem(sentiment.QUESTIONS, "ko", sentiment.QUESTIONS["en"])
    names.append(name_of("ko", IDENTITY))
    assert len(set(names)) == 5
    assert name_of("en", IDENTITY) == names[0]


@pytest.fixture
def reads(monkeypatch):
    """The engine without a model tells no label from the other; here it counts as if it did."""
    fit = calibration.fit
    monkeypatch.setattr(sentiment, "fit", lambda raw: {language: replace(one, auc=0.9) for language, one in fit(raw).items()})


def test_a_language_that_the_first_answers_show_to_be_out_of_reach_costs_no_more_of_them(tokens):
    many = [Anchor(f"{language} soup {i}", i % 2, language) for language in ("en", "ko") for i in range(90)]
    plan = sentiment.calibrate(tokens, many)

    def answer(requests):
        asked = [tokens._ours.decode(request.prompt.tolist()).split("Review: ")[-1] for request in requests]
        leans = [3.0 * (-1) ** (int(text.split()[2]) + 1) if text.startswith("en") else 0.0 for text in asked]
        return {request.key: word_answer(tokens, request, lean) for request, lean in zip(requests, leans, strict=True)}

    first = next(plan)
    second = plan.send(answer(first))
    assert (len(first), len(second)) == (2 * sentiment.PROBE, 90 - sentiment.PROBE)
    with pytest.raises(StopIteration) as end:
        plan.send(answer(second))
    fits = end.value.value
    assert {language: (one.readable, one.anchors) for language, one in fits.items()} == {"en": (True, 90), "ko": (False, sentiment.PROBE)}


class Told(list):
    def stage(self, what):
        self.append(what)

    def warn(self, what):
        self.append(f"warning: {what}")


class Here:
    """A runtime and a store in one."""

    identity = IDENTITY

    def __init__(self, folder, tokens, **engine):
        self.folder, self.tokens, self.engine = folder, tokens, DeterministicEngine(**engine)
        self.suspects = []
        nothing = Forgetful()
        self.find, self.add, self.deaths = nothing.find, nothing.add, nothing.deaths

    def suspect(self, requests):
        self.suspects += [request.key for request in requests]

    def fits(self, dump, told, source="ratings", anew=False):
        asked = len(self.engine.submitted)
        fits = fits_for(dump["language"].unique(), self, self, told, lambda: None, anew, source, [dump])
        return fits, len(self.engine.submitted) - asked


def test_a_fit_on_ratings_is_asked_once_and_stays_when_ratings_change(tmp_path, tokens, reads):
    here, told = Here(tmp_path, tokens), Told()
    first, asked = here.fits(reviews(60, 50), told)
    assert (asked, first["en"].source, first["en"].anchors) == (110, "ratings", 110)
    assert any("calibrating on rated reviews" in line for line in told)
    assert here.fits(reviews(90, 80), told) == (first, 0)
    assert here.fits(reviews(90, 80), told, anew=True)[1] == 170


def test_a_rated_review_without_an_answer_is_left_out_and_most_of_them_are_an_error(tmp_path, tokens, reads):
    here = Here(tmp_path / "few", tokens, fail=lambda request: request.key < "1")
    fits, asked = here.fits(reviews(60, 50), Told())
    failed = sum(request.key < "1" for request in here.engine.submitted)
    assert 0 < failed < 20
    assert (asked, fits["en"].anchors) == (110, 110 - failed)
    for source, fails in (("ratings", lambda request: True), ("anchors", lambda request: request.key < "1")):
        here = Here(tmp_path / source, tokens, fail=fails)
        with pytest.raises(BadConfiguration, match="choose another --model"):
            here.fits(reviews(60, 50), Told(), source)


@pytest.mark.parametrize(("source", "suspected"), [("ratings", True), ("anchors", False)])
def test_rated_reviews_inside_an_engine_that_dies_are_suspects_and_anchors_are_not(tmp_path, tokens, reads, monkeypatch, source, suspected):
    here = Here(tmp_path, tokens)
    monkeypatch.setattr(watched, "SIGNAL_S", 0)

    def die():
        raise EngineDied("out of memory")

    monkeypatch.setattr(here.engine, "step", die)
    with pytest.raises(EngineDied):
        here.fits(reviews(60, 50), Told(), source)
    assert bool(here.suspects) == suspected
    assert set(here.suspects) <= {request.key for request in here.engine.submitted}


def test_a_calibration_that_is_stopped_empties_the_engine(tmp_path, tokens, reads, monkeypatch):
    here = Here(tmp_path, tokens)

    def stopped():
        raise Stopped(15)

    monkeypatch.setattr(here.engine, "step", stopped)
    with pytest.raises(Stopped):
        here.fits(reviews(60, 50), Told())
    assert here.engine.unfinished == 0


def test_a_language_with_too_few_ratings_falls_back_to_the_anchors_with_a_warning(tmp_path, tokens, reads):
    here, told = Here(tmp_path, tokens), Told()
    fits, asked = here.fits(pl.concat([reviews(60, 50), reviews(60, 3, "ko")]), told)
    assert {language: one.source for language, one in fits.items()} == {"en": "ratings", "ko": "anchors"}
    assert asked == 110 + len(anchors(["ko"]))
    (warning,) = [line for line in told if "calibrating on the anchor reviews instead" in line]
    assert warning.startswith(f"warning: fewer than {LEAST_RATED} reviews in Korean")
    assert here.fits(pl.concat([reviews(60, 50), reviews(60, 3, "ko")]), told) == (fits, 0)


def test_without_being_asked_the_ratings_are_not_looked_at(tmp_path, tokens, reads):
    here = Here(tmp_path, tokens)
    fits, asked = here.fits(reviews(60, 50), Told(), source="anchors")
    assert (fits["en"].source, asked) == ("anchors", len(anchors(["en"])))
    assert json.loads((tmp_path / "calibrations" / f"{name_of('en', IDENTITY)}.json").read_text())["source"] == "anchors"
