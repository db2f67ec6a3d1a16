"""Whom a restaurant is compared with: of its kind where the dump says so, else by what reviews speak of; the same whatever the order."""

import random

import polars as pl

from pipeline import likeness
from pipeline.peers import LEAST_PEERS, MOST_PEERS, choose_peers

SCHEMA = {"restaurant_id": pl.String, "review_id": pl.String, "text": pl.String, "category": pl.String, "area": pl.String}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def of_kind(count, category="noodles", area="north", first=0):
    return [(f"{category}-{i}", str(i), "Fine.", category, area) for i in range(first, first + count)]


def test_peers_are_of_the_same_category_and_area():
    rows = [*of_kind(5), *of_kind(5, "bakery"), *[(f"south-{i}", "1", "Fine.", "noodles", "south") for i in range(5)]]
    peers = choose_peers([frame(rows)])
    assert peers["noodles-0"] == ("noodles-1", "noodles-2", "noodles-3", "noodles-4")
    assert peers["south-2"] == ("south-0", "south-1", "south-3", "south-4")
    assert all(name not in chosen for name, chosen in peers.items())


def test_no_more_than_the_most_are_chosen_and_a_newcomer_changes_few():
    before, after = (choose_peers([frame(of_kind(count))]) for count in (80, 81))
    assert {len(chosen) for chosen in after.values()} == {MOST_PEERS}
    assert all(len(set(before[name]) - set(after[name])) <= 1 for name in before)
    assert sum(before[name] != after[name] for name in before) < 40


def test_a_newcomer_is_a_peer_of_as_many_as_it_has_and_changes_no_other():
    before, after = (choose_peers([frame(of_kind(count))]) for count in (500, 501))
    changed = [name for name in before if before[name] != after[name]]
    assert len(changed) == MOST_PEERS
    assert all("noodles-500" in after[name] for name in changed)


def test_every_restaurant_of_a_large_kind_is_somebodys_peer():
    peers = choose_peers([frame(of_kind(80))])
    assert {name for chosen in peers.values() for name in chosen} == set(peers)


TALK = {"sushi": "fresh tuna sashimi and rice", "pizza": "crispy crust, mozzarella and basil", "ramen": "rich pork broth and noodles"}


def test_without_kinds_those_are_peers_whose_reviews_speak_of_the_same():
    rows = [(f"{dish}-{i}", str(j), f"{text} number {j}", None, None) for dish, text in TALK.items() for i in range(25) for j in range(3)]
    for name, chosen in choose_peers([frame(rows)]).items():
        assert len(chosen) == MOST_PEERS
        assert {other.split("-")[0] for other in chosen} == {name.split("-")[0]}


def test_of_very_many_those_are_found_that_speak_of_the_same_as_when_each_is_held_against_each(monkeypatch):
    draw = random.Random(5)
    words = {dish: [f"{dish}{i}" for i in range(30)] for dish in ("sushi", "pizza", "ramen", "curry", "salad", "kebab")}
    rows = [
        (f"{dish}-{i:03}", str(j), " ".join(draw.choices(some, k=12)), None, None)
        for dish, some in words.items()
        for i in range(60)
        for j in range(4)
    ]
    exact = choose_peers([frame(rows)])
    monkeypatch.setattr(likeness, "TOGETHER", 10)
    monkeypatch.setattr(likeness, "CELL", 64)
    close = choose_peers([frame(rows)])
    assert {len(chosen) for chosen in close.values()} == {MOST_PEERS}
    same_dish = [other.split("-")[0] == name.split("-")[0] for name, chosen in close.items() for other in chosen]
    assert sum(same_dish) / len(same_dish) > 0.95
    overlap = [len(set(exact[name]) & set(close[name])) / MOST_PEERS for name in exact]
    assert sum(overlap) / len(overlap) > 0.5
    assert close == choose_peers([frame(rows[::-1])])


def test_too_few_of_a_kind_are_no_comparison():
    rows = [*of_kind(LEAST_PEERS), *[(f"x-{i}", "1", "Fine noodles.", None, None) for i in range(3)]]
    assert len(choose_peers([frame(rows)])["noodles-0"]) == LEAST_PEERS - 1 + 3


def test_peers_do_not_depend_on_the_order_of_rows():
    rows = [(f"{dish}-{i}", str(j), text, None, None) for dish, text in TALK.items() for i in range(9) for j in range(2)] + of_kind(30)
    assert (
        choose_peers([frame(rows)])
        == choose_peers([frame(rows[::-1])])
        == choose_peers([frame(rows).sample(fraction=1, shuffle=True, seed=3)])
    )


def test_an_only_restaurant_has_no_peers_and_no_review_no_entry():
    assert choose_peers([frame([("a", "1", "Good.", None, None)])]) == {"a": ()}
    assert choose_peers([frame([])]) == {}


def test_texts_without_a_word_have_peers_all_the_same():
    rows = [(name, "1", "!!! 123", None, None) for name in "abcde"]
    assert choose_peers([frame(rows)])["c"] == ("a", "b", "d", "e")
