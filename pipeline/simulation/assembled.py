"""Requests that a run asked, put together as what each restaurant asks: which of them wait for which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pipeline.records import COMPARISON_STAGES, Restaurant
from pipeline.simulation.workload import Ask, Bundle, Bundles, Stage

AFTER: Mapping[str, tuple[str, ...]] = {
    "merge": ("part",),
    "praise": ("find", "label"),
    "prior": ("find", "label"),
    "tone": ("find", "label"),
    "aspect": ("find", "label"),
    "strength": ("compare",),
}
"""Stages of the tasks (`pipeline/tasks/`) that wait for others of the same restaurant; the others are asked at once."""


def assembled(asks: Iterable[Ask], restaurants: Iterable[Restaurant], peers: Mapping[str, Sequence[str]]) -> Bundles:
    """`asks` in the order in which they were asked; a restaurant without any is there all the same. Of several merges the last one waits
    for the others, whatever the tree was."""
    by_restaurant: dict[str, dict[str, list[Ask]]] = {}
    for ask in asks:
        by_restaurant.setdefault(ask.request.restaurant_id, {}).setdefault(ask.request.stage, []).append(ask)
    arrived = sorted(restaurants, key=lambda one: one.arrival)
    places = {one.restaurant_id: place for place, one in enumerate(arrived)}
    return Bundles(
        [
            Bundle(
                one,
                _stages(by_restaurant.get(one.restaurant_id, {})),
                tuple(places[peer] for peer in peers.get(one.restaurant_id, ()) if peer in places),
            )
            for one in arrived
        ]
    )


def _stages(asked: Mapping[str, Sequence[Ask]]) -> tuple[Stage, ...]:
    stages: list[Stage] = []
    places: dict[str, int] = {}
    for name in sorted(asked, key=lambda name: name in AFTER):  # those that wait come after those that they wait for
        asks, after = tuple(asked[name]), tuple(places[other] for other in AFTER.get(name, ()) if other in places)
        if name == "merge" and len(asks) > 1:
            stages.append(Stage(asks[:-1], after))
            asks, after = asks[-1:], (len(stages) - 1,)
        places[name] = len(stages)
        stages.append(Stage(asks, after, name in COMPARISON_STAGES))
    return tuple(stages)
