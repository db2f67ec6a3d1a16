"""Which texts speak of the same things: nearest by cosine of their words, weighted by how few texts use them (TF-IDF).

Of a few thousand each is held against each. Of more, only those are held against one another whose sketches begin alike: 64 signs of random
projections, which agree the more often the nearer two texts are (Charikar 2002, "Similarity Estimation Techniques from Rounding
Algorithms", STOC), sorted three times from another sign on and cut into cells by content (`restaurants.cut`), so that a new text changes
its own cells and no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.restaurants import cut
from pipeline.tasks.overlap import words_of

TOGETHER = 4096
"""Texts up to which each is held against each."""
CELL = 512
"""Texts of a cell at most, where there are more."""
TURNS, SIGNS = 3, 64
KEPT = 64
"""Words of a text, where there are more texts than TOGETHER."""
_WORDS = 4096  # columns that words are hashed to
_BLOCK = 512  # rows compared at once: 512 x 4,096 float32 are 8 MB

Places = npt.NDArray[np.integer[Any]]


def most_alike(
    names: Sequence[str], everyone: Sequence[str], texts: Iterable[Sequence[Sequence[str]]], most: int
) -> dict[str, tuple[str, ...]]:
    """For each of `names` the `most` of `everyone` (sorted) whose texts are nearest to its own, sorted by name; of equally near ones the
    first by name. All others where there are no more than that. `texts`: of everyone, some at a time."""
    weighted, count = _weighted(texts, len(everyone)), len(everyone)
    most = min(most, count - 1)
    some = set(names)
    wanted = np.fromiter((name in some for name in everyone), dtype=np.bool_, count=count)
    near, nearest = np.full((count, most), -2.0, dtype=np.float32), np.full((count, most), -1, dtype=np.int32)
    for cell in [np.arange(count)] if count <= TOGETHER else _cells(weighted, everyone):
        for start in range(0, len(cell), _BLOCK):
            rows = cell[start : start + _BLOCK]
            rows = rows[wanted[rows]]
            if len(rows):
                near[rows], nearest[rows] = _nearer(weighted, rows, cell, near[rows], nearest[rows])
    return {everyone[place]: tuple(everyone[other] for other in np.sort(nearest[place]) if other >= 0) for place in np.flatnonzero(wanted)}


def _weighted(texts: Iterable[Sequence[Sequence[str]]], count: int) -> Any:
    """A row per text; of more than TOGETHER with no more than its KEPT heaviest words, so that a million are half a gigabyte."""
    from scipy.sparse import vstack
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashed = HashingVectorizer(analyzer=_words, n_features=_WORDS, alternate_sign=False, norm=None)
    words = vstack([hashed.transform(some).astype(np.float32) for some in texts if len(some)], format="csr")
    rare = TfidfTransformer(sublinear_tf=True).fit(words)
    blocks = (rare.transform(words[start : start + TOGETHER].astype(np.float64)).astype(np.float32) for start in range(0, count, TOGETHER))
    return vstack(list(blocks if count <= TOGETHER else map(_heaviest, blocks)), format="csr")


def _heaviest(weighted: Any) -> Any:
    """Of each row the KEPT largest values, of equal ones the first, at length 1 again."""
    from sklearn.preprocessing import normalize

    row = np.repeat(np.arange(weighted.shape[0]), np.diff(weighted.indptr))
    order = np.lexsort((-weighted.data, row))  # rows stay where they are
    small = order[np.arange(len(order)) - weighted.indptr[row] >= KEPT]
    weighted.data[small] = 0.0
    weighted.eliminate_zeros()
    return normalize(weighted, copy=False)


def _nearer(
    weighted: Any, rows: Places, cell: Places, near: npt.NDArray[np.float32], nearest: Places
) -> tuple[npt.NDArray[np.float32], Places]:
    """The nearest known of these rows, shapes (rows, most), after those of one more cell were looked at."""
    likeness = (weighted[rows] @ weighted[cell].T).toarray()
    likeness[rows[:, None] == cell[None, :]] = -3.0  # itself
    both = np.concatenate([nearest, np.broadcast_to(cell, likeness.shape)], axis=1)
    known = np.concatenate([near, likeness], axis=1)
    for column in range(nearest.shape[1]):  # known from another cell
        known[:, nearest.shape[1] :][nearest[:, column : column + 1] == cell[None, :]] = -3.0
    order = np.argsort(-known, axis=1, kind="stable")[:, : nearest.shape[1]]  # a cell stands in the order of names
    found, places = np.take_along_axis(known, order, axis=1), np.take_along_axis(both, order, axis=1)
    return found, np.where(found > -1.5, places, -1)


def _cells(weighted: Any, everyone: Sequence[str]) -> Iterator[Places]:
    signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0], dtype=np.float32), (_WORDS, SIGNS))
    bits = np.asarray(weighted @ signs) > 0
    for turn in range(TURNS):
        sketches = np.packbits(np.roll(bits, -turn * SIGNS // TURNS, axis=1), axis=1)
        places = [sketch.tobytes() + name.encode() for sketch, name in zip(sketches, everyone, strict=True)]
        order = sorted(range(len(places)), key=places.__getitem__)
        for run in cut([places[i] for i in order], [1] * len(order), CELL, CELL):
            yield np.sort(np.array(order[run.start : run.stop], dtype=np.int64))


def _words(texts: Sequence[str]) -> list[str]:
    return [word for text in texts for word in words_of(text.casefold())]
