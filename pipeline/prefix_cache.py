"""What the engine's prefix cache can serve, counted as vLLM counts: whole blocks of leading tokens, and never the whole of a prompt.

Nothing is ever evicted here, so this is what a cache that is large enough serves.
"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.records import TokenIds


class PrefixCache:
    """Blocks of prompts seen so far, each by a hash of itself and all before it: 8 bytes a block and what a set takes."""

    def __init__(self, block: int) -> None:
        """`block`: tokens; 0 for an engine without a prefix cache."""
        self.block = block
        self._known: set[int] = set()

    def shared(self, prompt: TokenIds) -> int:
        """Leading tokens of a prompt that are there already."""
        found = 0
        for mark in self._marks(prompt):
            if mark not in self._known:
                break
            found += 1
        return self.whole(min(found * self.block, len(prompt) - 1))

    def add(self, prompt: TokenIds) -> int:
        """As `shared`; then all of the prompt is there."""
        found = self.shared(prompt)
        self._known.update(self._marks(prompt))
        return found

    def whole(self, tokens: float) -> int:
        """So many tokens in whole blocks."""
        return int(tokens) // self.block * self.block if self.block else 0

    def _marks(self, prompt: TokenIds) -> Iterator[int]:
        size, content, mark = 4 * self.block, prompt.astype("<u4").tobytes(), 0
        for start in range(0, len(content) - size + 1, size) if size else ():
            mark = hash((mark, content[start : start + size]))
            yield mark
