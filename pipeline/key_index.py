"""Which part of the store holds a key, in memory: 12 bytes an answer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Numbers = npt.NDArray[np.int32]


class KeyIndex:
    """The first 64 bits of every key, sorted, with the number of its part; the caller compares all 128 bits.

    New keys come in small sorted runs, merged when they have grown to the size of the run before: the levels of a log-structured merge tree
    (O'Neil et al. 1996), so that adding n keys one by one costs n log n. Of equal keys the one with the highest number counts.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Keys, Numbers]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._runs)

    def add(self, *entries: tuple[Keys, int]) -> None:
        """Keys, shape (n,), and the number of the part that holds them; numbers never fall from one entry to the next."""
        entries = tuple(entry for entry in entries if len(entry[0]))
        if not entries:
            return
        self._runs.append(
            _sorted(
                np.concatenate([keys for keys, _ in entries]),
                np.concatenate([np.full(len(keys), number, dtype=np.int32) for keys, number in entries]),
            )
        )
        while len(self._runs) > 1 and 2 * len(self._runs[-1][0]) >= len(self._runs[-2][0]):
            newer, older = self._runs.pop(), self._runs.pop()
            self._runs.append(_merged(older, newer))

    def find(self, keys: Keys) -> Numbers:
        """The part's number for each key, shape (n,); -1 where no key begins so."""
        order = np.argsort(keys)
        ascending, found = keys[order], np.full(len(keys), -1, dtype=np.int32)
        for known, numbers in self._runs:  # later runs hold higher numbers and overwrite
            last = np.searchsorted(known, ascending, side="right") - 1  # in order: twice as fast, the ways to neighbours are the same
            hit = (last >= 0) & (known[last] == ascending)
            found[order[hit]] = numbers[last[hit]]
        return found


def _merged(older: tuple[Keys, Numbers], newer: tuple[Keys, Numbers]) -> tuple[Keys, Numbers]:
    """Of equal keys the newer ones last. Nothing is sorted again, and little is held beside the two and what becomes of them."""
    places = np.searchsorted(older[0], newer[0], side="right")
    places += np.arange(len(places))
    others = np.ones(len(older[0]) + len(places), dtype=np.bool_)
    others[places] = False
    keys, numbers = np.empty(len(others), dtype=np.uint64), np.empty(len(others), dtype=np.int32)
    keys[places], numbers[places] = newer
    keys[others], numbers[others] = older
    return keys, numbers


def _sorted(keys: Keys, numbers: Numbers) -> tuple[Keys, Numbers]:
    order = np.argsort(keys, kind="stable")
    return keys[order], numbers[order]
