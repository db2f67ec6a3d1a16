"""What the cost model finds in invented steps, and what it says of itself."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.costs import LEAST_STEPS, MOST_HISTORY, CostModel, Step, assumed

TRUE = CostModel(step_s=0.03, prefill_s=0.0016, decode_s=0.004)
BEFORE = assumed("cpu")


def steps(number, rates=TRUE, noise=0.0, seed=1, mix=lambda random: (int(random.integers(0, 2000)), int(random.integers(0, 64)))):
    random = np.random.default_rng(seed)
    made = []
    for _ in range(number):
        prefilled, decoded = mix(random)
        seconds = rates.seconds(prefilled, decoded, 1) * random.lognormal(0, noise)
        made.append(Step(seconds, prefilled, decoded, 0, 0))
    return made


def total(model, some):
    return model.seconds(sum(step.prefilled for step in some), sum(step.decoded for step in some), len(some))


def test_known_rates_are_found_again():
    found = CostModel.fit(steps(200), BEFORE)
    assert (found.step_s, found.prefill_s, found.decode_s) == pytest.approx((TRUE.step_s, TRUE.prefill_s, TRUE.decode_s), rel=0.01)
    assert found.error < 0.001
    assert found.steps == 200


def test_noise_leaves_the_rates_about_right_and_shows_in_the_error():
    errors = [CostModel.fit(steps(300, noise=noise), BEFORE).error for noise in (0.0, 0.3, 1.0)]
    assert errors == sorted(errors)
    assert errors[2] > 0.05
    found = CostModel.fit(steps(2000, noise=0.3), BEFORE)
    assert found.prefill_s == pytest.approx(TRUE.prefill_s * np.exp(0.3**2 / 2), rel=0.05)  # the mean of that noise


@given(st.integers(0, 50), st.sampled_from([0.0, 0.1, 0.5]))
def test_no_rate_is_ever_below_zero(seed, noise):
    some = steps(60, CostModel(0.0, 0.002, 0.0), noise, seed)
    found = CostModel.fit(some, BEFORE)
    assert min(found.step_s, found.prefill_s, found.decode_s) >= 0


def test_rates_that_the_steps_cannot_tell_apart_keep_the_proportions_known_before():
    def sentiment(random):
        number = int(random.integers(10, 60))
        return 100 * number, number

    some = steps(200, noise=0.05, mix=sentiment)
    found = CostModel.fit(some, BEFORE)
    assert found.prefill_s / found.decode_s == pytest.approx(BEFORE.prefill_s / BEFORE.decode_s, rel=0.2)
    fresh = steps(200, noise=0.05, seed=2, mix=sentiment)
    assert total(found, fresh) == pytest.approx(sum(step.seconds for step in fresh), rel=0.05)


def test_steps_that_are_all_alike_are_predicted_although_they_tell_nothing_apart():
    some = steps(100, mix=lambda random: (500, 5))
    assert total(CostModel.fit(some, BEFORE), some) == pytest.approx(sum(step.seconds for step in some), rel=0.01)


def test_a_kind_of_token_that_never_came_keeps_its_rate_relative_to_the_others():
    found = CostModel.fit(steps(100, mix=lambda random: (int(random.integers(1, 900)), 0)), BEFORE)
    assert found.decode_s > 0


def test_work_of_another_kind_later_in_a_run_shows_in_the_error():
    slow = CostModel(TRUE.step_s, 2 * TRUE.prefill_s, 2 * TRUE.decode_s)
    assert CostModel.fit(steps(100) + steps(100, slow), BEFORE).error > 0.15


def test_too_few_steps_have_no_error_and_steps_without_time_no_model():
    assert CostModel.fit(steps(9), BEFORE).error is None
    with pytest.raises(ValueError, match="no step took any time"):
        CostModel.fit([], BEFORE)


def test_a_first_run_replaces_assumed_rates_and_a_later_one_moves_them_by_half_at_most():
    first = CostModel.fit(steps(LEAST_STEPS), BEFORE, {("summary", "part"): 100.0, ("sentiment", "label"): 1.0})
    assert BEFORE.updated(first) == replace(first, output_tokens={**BEFORE.output_tokens, **first.output_tokens})
    twice = CostModel(2 * TRUE.step_s, 2 * TRUE.prefill_s, 2 * TRUE.decode_s, {("summary", "part"): 300.0}, steps=1_000_000, error=0.1)
    both = first.updated(twice)
    assert both.prefill_s == pytest.approx(1.5 * first.prefill_s, rel=0.01)
    assert both.answer_tokens("summary", "part") == pytest.approx(200)
    assert both.answer_tokens("sentiment", "label") == 1
    assert both.error == 0.1


def test_a_run_that_fits_badly_moves_the_rates_little_and_a_model_that_predicts_badly_is_left_quickly():
    old, busy = CostModel(0.0, 0.001, 0.0, steps=400, error=0.03), CostModel(0.0, 0.002, 0.0, steps=400, error=0.6)
    assert old.updated(busy).prefill_s < 0.0011
    assert busy.updated(old).prefill_s < 0.0011


def test_a_short_run_moves_a_long_history_a_little_and_history_does_not_grow_without_end():
    old = CostModel(0.03, 0.002, 0.004, steps=10**9)
    new = old.updated(CostModel(0.06, 0.004, 0.008, steps=100))
    assert new.prefill_s == pytest.approx(0.002 * (1 + 100 / (MOST_HISTORY + 100)))
    assert new.steps == MOST_HISTORY + 100
