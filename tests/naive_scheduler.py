"""vLLM's scheduling and prefix cache written down the slow way, block by block and step by step: what the simulation is held against."""

from __future__ import annotations

import itertools


class Block:
    def __init__(self):
        self.hash, self.users = None, 0


class NaiveBlocks:
    """Blocks by the hash of all tokens up to their end, and a queue of those that nobody uses."""

    def __init__(self, size, blocks):
        self.size = size
        self.queue = [Block() for _ in range(blocks)]
        self.by_hash = {}

    def found(self, tokens):
        hits = []
        for end in range(self.size, len(tokens), self.size):  # never the block of the last token
            same = self.by_hash.get(tuple(tokens[:end]))
            if not same:
                break
            hits.append(same[0])
        return hits

    def enter(self, tokens):
        hits = self.found(tokens)
        new = -(-len(tokens) // self.size) - len(hits)
        if new + sum(not block.users for block in hits) > len(self.queue):
            return None
        for block in hits:
            if not block.users:
                self.queue.remove(block)
            block.users += 1
        held = hits + [self.take() for _ in range(new)]
        for number in range(len(hits), len(tokens) // self.size):
            self.remember(held[number], tokens[: (number + 1) * self.size])
        return len(hits), held

    def take(self):
        block = self.queue.pop(0)
        if block.hash is not None:
            self.by_hash[block.hash].remove(block)
            block.hash = None
        block.users = 1
        return block

    def remember(self, block, tokens):
        block.hash = tuple(tokens)
        self.by_hash.setdefault(block.hash, []).append(block)

    def leave(self, held, tokens):
        """`tokens` that were computed, those of the answer included."""
        for number, block in enumerate(held):
            if block.hash is None and (number + 1) * self.size <= len(tokens):
                self.remember(block, tokens[: (number + 1) * self.size])
        first, last = [], []
        for block in reversed(held):
            block.users -= 1
            if not block.users:
                (last if block.hash else first).append(block)
        self.queue = [*reversed(first), *self.queue, *last]


class Asked:
    def __init__(self, number, prompt, output, rank):
        self.number, self.prompt, self.output, self.rank = number, prompt, output, rank
        self.computed = self.made = 0
        self.cached = self.finished = self.first = None


def run(asked, *, max_num_seqs, budget, size, blocks, priority):
    """Every step of all of them; returns (prefilled, decoded, running) per step. Raises where blocks run out under way."""
    cache, waiting, running, steps = NaiveBlocks(size, blocks), list(asked), [], []
    answer = itertools.count(10**9)
    tokens = {}
    for step in itertools.count():
        if not waiting and not running:
            return steps
        left, prefilled, decoded = budget, 0, 0
        for one in running:
            if one.computed < len(one.prompt):
                new = min(left, len(one.prompt) - one.computed)
                one.computed += new
                prefilled += new
            else:
                new = 1
                tokens[one] = [*tokens[one], next(answer)]
                one.computed += 1
                if -(-one.computed // size) > len(one.held):
                    one.held.append(cache.take())
            left -= new
        while left and waiting and len(running) < max_num_seqs:
            one = min(waiting, key=lambda one: (one.rank, one.number)) if priority else waiting[0]
            entered = cache.enter(one.prompt)
            if entered is None:
                break
            waiting.remove(one)
            running.append(one)
            tokens[one] = list(one.prompt)
            hits, one.held = entered
            one.cached = hits * size
            new = min(left, len(one.prompt) - one.cached)
            one.computed = one.cached + new
            prefilled += new
            left -= new
        for one in running:
            if one.computed >= len(one.prompt):
                one.made += 1
                decoded += 1
                one.first = step if one.first is None else one.first
        steps.append((prefilled, decoded, len(running)))
        for one in list(running):
            if one.made == one.output:
                one.finished = step
                running.remove(one)
                cache.leave(one.held, tokens[one][: one.computed])
