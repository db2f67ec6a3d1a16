"""What met a service level, by hand-made tables."""

import polars as pl
import pytest

from pipeline.schemas import REQUESTS, RESTAURANTS, frame_of
from pipeline.service_levels import ServiceLevel, attained


def request(restaurant, task="sentiment", first=1.0, finished=2.0, **other):
    row = {"restaurant_id": restaurant, "task": task, "status": "ok", "first_token_s": first, "finished_s": finished}
    return row | {"position": 0, "reused": False, "prompt_tokens": 100, "cached_tokens": 0, "output_tokens": 10} | other


LEFT = "summary: not reached, the run was to stop"


def place(name, finished=2.0, **other):
    error = LEFT if other.get("status") == "pending" else None
    return {"restaurant_id": name, "status": "ok", "finished_s": finished, "reused": False, "error": error} | other


def found(level, requests, places):
    (row,) = attained([level], [(frame_of(requests, REQUESTS), frame_of(places, RESTAURANTS))])
    return row


TTFT = ServiceLevel("ttft", 2.0)


def test_a_request_at_the_limit_meets_it_and_one_above_does_not():
    requests = [request("a", first=2.0), request("a", first=2.001, finished=10.0), request("b", "summary", first=0.5)]
    row = found(TTFT, requests, [place("a"), place("b")])
    assert (row["met"], row["number"], row["attainment"]) == (2, 3, pytest.approx(2 / 3))
    assert {name: (one["met"], one["number"]) for name, one in row["tasks"].items()} == {"sentiment": (1, 2), "summary": (1, 1)}
    assert row["goodput"] == {"restaurants": 0.1, "requests": 0.2, "tokens": 22.0}  # in 10 s; a restaurant with a late request is late


def test_a_level_of_one_task_concerns_no_other():
    row = found(ServiceLevel("ttft", 2.0, "summary"), [request("a", first=9.0), request("a", "summary", first=1.0)], [place("a")])
    assert (row["level"], row["met"], row["number"]) == ("ttft.summary", 1, 1)
    assert row["goodput"]["restaurants"] == 0.5


def test_failed_cut_off_and_untimed_requests_are_missed():
    requests = [request("a", status="failed", first=None), request("a", status="cut_off"), request("a", first=None), request("a")]
    assert (found(TTFT, requests, [place("a")])["met"], found(TTFT, requests, [place("a")])["number"]) == (1, 4)


def test_a_restaurant_meets_its_level_by_its_own_last_answer():
    places = [place("a", 60.0), place("b", 61.0), place("c", 5.0, status="failed"), place("d", None, status="pending")]
    places.append(place("e", 5.0, status="partial"))
    row = found(ServiceLevel("restaurant", 60.0), [request(name, finished=70.0) for name in "abcde"], places)
    assert (row["met"], row["number"]) == (2, 5)
    assert row["goodput"] == pytest.approx({"restaurants": 2 / 70, "requests": 2 / 70, "tokens": 220 / 70}, abs=1e-6)


def test_a_restaurant_that_the_run_ended_too_early_to_ask_about_has_missed_its_level():
    places = [place("a", 5.0), place("never reached", None, status="pending"), place("kept", None, status="pending", reused=True)]
    row = found(ServiceLevel("restaurant", 60.0), [request("a")], places)
    assert (row["met"], row["number"], row["attainment"]) == (1, 2, 0.5)


def test_a_restaurant_of_which_only_the_comparison_was_not_reached_has_met_its_level():
    only = place("a", 5.0, status="pending", error="comparison: not reached, the run was to stop")
    row = found(ServiceLevel("restaurant", 60.0), [request("a"), request("b")], [only, place("b", 5.0, status="pending")])
    assert (row["met"], row["number"]) == (1, 2)


def test_a_restaurants_level_is_told_by_task_without_the_comparison():
    requests = [request("a", finished=5.0), request("a", "summary", finished=61.0), request("b", "summary", finished=9.0)]
    requests += [request("a", "strengths", stage=stage, finished=finished) for stage, finished in (("find", 20.0), ("compare", 99.0))]
    requests.append(request("b", finished=8.0, status="failed"))
    row = found(ServiceLevel("restaurant", 60.0), requests, [place("a", 61.0), place("b", 9.0)])
    told = {name: (one["met"], one["number"]) for name, one in row["tasks"].items()}
    assert told == {"sentiment": (1, 2), "summary": (1, 2), "strengths": (1, 1)}


def test_reused_answers_and_carried_over_restaurants_count_neither_way():
    reused = {"reused": True, "position": None, "first_token_s": None, "finished_s": 99.0}
    requests = [request("a"), request("a", **reused), request("b", **reused), request("carried", first=1.0)]
    places = [place("a"), place("b"), place("carried", None, reused=True)]
    row = found(ServiceLevel("restaurant", 60.0), requests, places)
    assert (row["met"], row["number"]) == (1, 1)
    assert row["goodput"]["restaurants"] == 0.5
    assert found(TTFT, requests, places)["number"] == 2


def test_a_run_that_asked_nothing_has_no_attainment_and_no_rate():
    for level in (TTFT, ServiceLevel("restaurant", 60.0)):
        row = found(level, [], [])
        assert (row["met"], row["number"], row["attainment"]) == (0, 0, None)
        assert row["goodput"] == {"restaurants": None, "requests": None, "tokens": None}


def test_levels_come_back_in_the_order_in_which_they_were_given():
    levels = [ServiceLevel("restaurant", 600.0), ServiceLevel("ttft", 2.0, "summary"), TTFT]
    rows = attained(levels, [(pl.DataFrame(schema=REQUESTS), pl.DataFrame(schema=RESTAURANTS))])
    assert [row["level"] for row in rows] == ["restaurant", "ttft.summary", "ttft"]
