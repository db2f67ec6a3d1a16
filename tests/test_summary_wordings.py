"""The comparison of wordings for the summary, on answers written by hand."""

from dataclasses import replace

import pytest
import regex
from deterministic_engine import DeterministicEngine

from pipeline.groups import group
from pipeline.store import Forgetful
from pipeline.summary_wordings import DRAWS, cases, measure, overlaps, wordings
from pipeline.tasks.summary import WORDING

DISHES = ("dumplings", "risotto", "oysters", "pancakes", "noodles", "burgers")


@pytest.fixture
def groups(dump):
    """Six restaurants, each known for a dish of its own, all for kind staff; ten reviews each, in the order of their numbers."""
    rows = [(f"r{i}", f"{i}-{number}", f"Lovely {dish} and kind staff") for i, dish in enumerate(DISHES) for number in range(10)]
    restaurant_ids, review_ids, texts = map(list, zip(*rows, strict=True))
    return group(dump({"restaurant_id": restaurant_ids, "review_id": review_ids, "text": texts}))


def answered(tokens, groups, text, **engine):
    """Figures of one wording where this is what the model says of each restaurant."""
    some = cases(groups, skip=0, count=6, shown=4, left_out=6, seed=1)
    engine = DeterministicEngine(text=text, **engine)
    return measure(some, {"kept": WORDING["en"]}, tokens, engine, Forgetful(), seed=1)["kept"]


def of_each(request):
    return f" Lovely {DISHES[int(request.restaurant_id[1:])]}"


pytest.importorskip("rouge_score", reason="it comes with the extra 'evaluate', which `make` installs")


def test_what_fits_any_restaurant_is_no_gap_and_what_fits_one_is(tokens, groups):
    anything = answered(tokens, groups, lambda request: " The staff are kind\n- Rockets made of cheese")
    assert (anything["sentences"], anything["supported"], anything["supported_elsewhere"], anything["gap"]) == (12, 0.5, 0.5, 0.0)
    own = answered(tokens, groups, of_each)
    assert (own["sentences"], own["supported"], own["supported_elsewhere"], own["gap"]) == (6, 1.0, 0.0, 1.0)


def test_what_was_published_is_counted_and_a_cut_off_answer_is_filled_up(tokens, groups):
    found = answered(tokens, groups, of_each, cut=lambda request: request.restaurant_id in ("r0", "r1"))
    assert (found["cut_off"], found["restaurants"], found["sentences"]) == (2, 6, 4)
    assert (found["published_unsupported"], found["published_empty"]) == (0, 0)
    assert found["kinds"] == {"generated": 0, "mixed": 4, "extractive": 2}


def test_other_reviews_are_as_many_and_of_other_restaurants_and_left_out_ones_are_not_shown(groups):
    for case in cases(groups, skip=2, count=3, shown=4, left_out=5, seed=1):
        dish = DISHES[int(case.restaurant.restaurant_id[1:])]
        assert [len(others) for others in case.others] == [4] * DRAWS
        assert not any(dish[:6] in said.words for others in case.others for said in others)
        assert (len(case.restaurant.reviews), len(case.left_out)) == (4, 5)
    assert [one.restaurant.restaurant_id for one in cases(groups, 2, 3, 4, 5, 1)] == ["r2", "r3", "r4"]


def test_the_overlap_with_reviews_left_out_is_that_of_words(tokens, groups):
    found = answered(tokens, groups, of_each)
    assert 0 < found["rouge1"] < found["rouge1_of_a_random_review"] == 1.0  # all guests of a restaurant say the same here
    assert overlaps([], 1) == {"rouge1": None, "rouge1_of_a_random_review": None}


def test_rivals_differ_from_the_kept_wording_in_the_request_alone_and_their_forms_are_sound():
    found = wordings()
    assert len(found) >= 4
    assert len({(one.part, one.start) for one in found.values()}) == len(found)
    for one in found.values():
        assert regex.compile(one.sampling.regex)
        assert replace(one, part="", start="", sampling=WORDING["en"].sampling) == replace(WORDING["en"], part="", start="")
