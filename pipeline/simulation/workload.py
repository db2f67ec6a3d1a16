"""What a run asks, without its texts: the records that a simulation works through."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np

from pipeline.records import Request, Restaurant, TokenIds

Shared = tuple[tuple[int, int], ...]
"""What a prompt has in common with others, from its first token on: pieces as (number of the piece, its tokens). Prompts share the pieces
that they both begin with. No piece is used in part: where two prompts part, a piece ends. Numbers below 0 are one restaurant's own."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: its prompt counts by its length alone, its answer is known to have so many tokens."""

    request: Request
    output_tokens: int
    shared: Shared = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """Requests of one restaurant that become ready together: when its stages `after` are answered, `compares` when its own and its peers'
    first stages are."""

    asks: tuple[Ask, ...]
    after: tuple[int, ...] = ()
    compares: bool = False


@dataclass(frozen=True, slots=True)
class Bundle:
    """All that one restaurant asks. `peers`: places of those that it is compared with, in the workload."""

    restaurant: Restaurant
    stages: tuple[Stage, ...]
    peers: tuple[int, ...] = ()


class Workload(Protocol):
    """Bundles by place, in the order of arrival. They may be made when asked for; the restaurants, without reviews, are known before, and
    what an order may predict of them: `labels` asked about each, and the names of all `tasks`."""

    @property
    def restaurants(self) -> Sequence[Restaurant]: ...
    @property
    def labels(self) -> Sequence[int]: ...
    @property
    def tasks(self) -> frozenset[str]: ...
    def bundle(self, place: int) -> Bundle: ...


@dataclass(frozen=True, slots=True)
class Bundles:
    """A workload that is held in memory."""

    bundles: Sequence[Bundle]

    @property
    def restaurants(self) -> Sequence[Restaurant]:
        return [one.restaurant for one in self.bundles]

    @property
    def labels(self) -> Sequence[int]:
        return [sum(ask.request.stage == "label" for stage in one.stages for ask in stage.asks) for one in self.bundles]

    @property
    def tasks(self) -> frozenset[str]:
        return frozenset(ask.request.task for one in self.bundles for stage in one.stages for ask in stage.asks)

    def bundle(self, place: int) -> Bundle:
        return self.bundles[place]


@lru_cache(maxsize=1 << 16)
def blank(tokens: int) -> TokenIds:
    """A prompt of so many tokens that takes no memory: lengths are all that an order looks at."""
    return np.broadcast_to(np.uint32(0), tokens)


def shared_of(prompts: Sequence[TokenIds], block_size: int) -> list[Shared]:
    """What each prompt has in common with any other, in whole blocks: a piece ends where the number of prompts that have it changes."""
    numbers: dict[tuple[int, bytes], int] = {}
    blocks: list[list[int]] = []
    for prompt in prompts:
        chain: list[int] = []
        for start in range(0, len(prompt) - block_size + 1, block_size):
            block = (chain[-1] if chain else -1, prompt[start : start + block_size].tobytes())
            chain.append(numbers.setdefault(block, len(numbers)))
        blocks.append(chain)
    used = Counter(number for chain in blocks for number in chain)
    return [_pieces(chain, used, block_size) for chain in blocks]


def _pieces(chain: Sequence[int], used: Counter[int], block_size: int) -> Shared:
    pieces: list[tuple[int, int]] = []
    before = 0
    for number in chain:
        if used[number] < 2:
            break
        if pieces and used[number] == before:
            pieces[-1] = (pieces[-1][0], pieces[-1][1] + block_size)
        else:
            pieces.append((number, block_size))
        before = used[number]
    return tuple(pieces)
