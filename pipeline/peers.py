"""Which restaurants one restaurant is compared with, chosen from the dump alone, before any model runs.

Of the same category in the same area, where the dump says so; else those whose reviews speak of the same things (`likeness.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

import polars as pl

from pipeline.dump import Dump
from pipeline.likeness import most_alike

MOST_PEERS = 20
LEAST_PEERS = 3
"""Fewer of the same kind are no comparison: then reviews decide."""
MOST_TEXTS = 50
"""Reviews of a restaurant that its likeness to others is taken from, those with the lowest ids."""


def choose_peers(parts: Collection[pl.DataFrame] | Dump) -> dict[str, tuple[str, ...]]:
    """Peers by restaurant, at most MOST_PEERS, sorted; every restaurant with a review has an entry, an only one an empty one.

    `parts`: restaurant_id, review_id, text, category, area; each has all reviews of its restaurants, and they come in the order of their
    names. Taken up twice. Takes n log n time in the number of restaurants.
    """
    kinds = pl.concat(map(_kinds, parts))
    peers: dict[str, tuple[str, ...]] = dict.fromkeys(kinds["restaurant_id"], ())
    of_a_kind = (
        kinds.drop_nulls().group_by("category", "area").agg("restaurant_id").filter(pl.col("restaurant_id").list.len() > LEAST_PEERS)
    )
    for names in of_a_kind["restaurant_id"]:
        peers.update(_around(names.to_list()))
    without = [name for name, chosen in peers.items() if not chosen]
    if without and len(peers) > 1:
        peers.update(most_alike(without, list(peers), map(_texts, parts), MOST_PEERS))
    return peers


def _kinds(part: pl.DataFrame) -> pl.DataFrame:
    return part.group_by("restaurant_id").agg(pl.col("category", "area").drop_nulls().mode().min()).sort("restaurant_id")


def _texts(part: pl.DataFrame) -> list[list[str]]:
    some = part.select("restaurant_id", "review_id", "text").sort("restaurant_id", "review_id")
    return some.group_by("restaurant_id", maintain_order=True).agg(pl.col("text").head(MOST_TEXTS))["text"].to_list()


def _around(names: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of more than MOST_PEERS others those next to it on a ring of digests, as many on either side: a draw that depends on names alone, and
    a restaurant that opens or closes is a peer of MOST_PEERS others and changes no more than that of them (consistent hashing: Karger et
    al. 1997, STOC)."""
    ring = sorted(names, key=lambda name: hashlib.blake2b(name.encode(), digest_size=16).digest())
    most = min(MOST_PEERS, len(ring) - 1)
    steps = [step for step in range(-(most // 2), most - most // 2 + 1) if step]
    for place, name in enumerate(ring):
        yield name, tuple(sorted(ring[(place + step) % len(ring)] for step in steps))
