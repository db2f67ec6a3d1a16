"""Which restaurants one restaurant is compared with, chosen from the dump alone, before any model runs.

Of the same category in the same area, where the dump says so; else those whose reviews speak of the same things.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl

from pipeline.tasks.overlap import content_words

MOST_PEERS = 20
LEAST_PEERS = 3
"""Fewer of the same kind are no comparison: then reviews decide."""
MOST_TEXTS = 50
"""Reviews of a restaurant that its likeness to others is taken from, those with the lowest ids."""
_BLOCK = 512  # restaurants compared with all others at once: 512 x 100,000 float32 are 0.2 GB


def choose_peers(reviews: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """Peers by restaurant, at most MOST_PEERS, sorted; every restaurant with a review has an entry, an only one an empty one.

    `reviews`: restaurant_id, review_id, text, category, area. Where more restaurants are of one kind, a draw decides that depends on the
    two restaurants alone (rendezvous hashing: Thaler and Ravishankar 1998, IEEE/ACM Transactions on Networking 6), so that a restaurant
    that opens or closes changes few peers of others.
    """
    kinds = reviews.group_by("restaurant_id").agg(pl.col("category", "area").drop_nulls().mode().min()).sort("restaurant_id")
    peers: dict[str, tuple[str, ...]] = dict.fromkeys(kinds["restaurant_id"], ())
    for group in kinds.drop_nulls().partition_by("category", "area", maintain_order=True):
        names = group["restaurant_id"].to_list()
        if len(names) > LEAST_PEERS:
            peers.update({name: _drawn(name, names) for name in names})
    without = [name for name, chosen in peers.items() if not chosen]
    if without and len(peers) > 1:
        peers.update(_alike(without, reviews))
    return peers


def _drawn(name: str, names: Sequence[str]) -> tuple[str, ...]:
    others = [other for other in names if other != name]
    if len(others) > MOST_PEERS:
        others = sorted(others, key=lambda other: hashlib.blake2b("\0".join(sorted((name, other))).encode()).digest())[:MOST_PEERS]
    return tuple(sorted(others))


def _alike(names: Sequence[str], reviews: pl.DataFrame) -> dict[str, tuple[str, ...]]:
    """The nearest by cosine of their reviews' words, weighted by how few restaurants use them (TF-IDF), hashed to 4,096 columns."""
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    some = (
        reviews.select("restaurant_id", "review_id", "text")
        .sort("restaurant_id", "review_id")
        .group_by("restaurant_id", maintain_order=True)
    )
    texts = some.agg(pl.col("text").head(MOST_TEXTS))
    everyone = texts["restaurant_id"].to_list()
    words = HashingVectorizer(analyzer=_words, n_features=4096, alternate_sign=False, norm=None).transform(texts["text"].to_list())
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(words).astype(np.float32)
    place = {name: i for i, name in enumerate(everyone)}
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(names), _BLOCK):
        block = names[start : start + _BLOCK]
        likeness = (weighted[[place[name] for name in block]] @ weighted.T).toarray()
        for name, row in zip(block, likeness, strict=True):
            row[place[name]] = -1.0
            nearest = np.argsort(-row, kind="stable")[: min(MOST_PEERS, len(everyone) - 1)]
            found[name] = tuple(sorted(everyone[i] for i in nearest))
    return found


def _words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in content_words(text)]
