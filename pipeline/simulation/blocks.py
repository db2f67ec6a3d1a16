"""The prefix cache in blocks, by vLLM's rules (0.32, `vllm/v1/core`: `block_pool.py`, `kv_cache_manager.py`).

- Only full blocks hit, from the first one on without a gap, and never the block that holds a prompt's last token.
- What a request of this step is to compute is found by the next request of the same step.
- A block that nobody uses stays until its place is needed: blocks that cannot be found go first, then those unused for longest; of what is
  given back together, the end of a prompt goes before its beginning.
- A request is let in when all of its prompt fits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

UNBOUNDED = 1 << 60


class Piece:
    """Blocks that prompts have in common and that are always used together. `present` of its `blocks` are in the cache, from the first one
    on; `users`: requests that hold them; `unused`: its place among the blocks that nobody holds."""

    __slots__ = ("blocks", "present", "unused", "users")

    def __init__(self, blocks: int) -> None:
        self.blocks, self.present, self.users = blocks, 0, 0
        self.unused: _Unused | None = None


class _Unused:
    """Blocks that nobody holds, given back together. Without a piece they are one request's own, which nobody looks for."""

    __slots__ = ("blocks", "piece")

    def __init__(self, piece: Piece | None, blocks: int) -> None:
        self.piece, self.blocks = piece, blocks


class Blocks:
    """A bounded number of blocks. A chain is the pieces that a prompt begins with, in order."""

    def __init__(self, size: int, blocks: int | None) -> None:
        """`size` in tokens; `blocks` None for more than are ever needed."""
        self.size = size
        self.free = self._blank = UNBOUNDED if blocks is None else blocks
        self._bounded = blocks is not None
        self._unused: deque[_Unused] = deque()  # the first goes first

    def enter(self, chain: Sequence[Piece], prompt: int) -> tuple[int, int] | None:
        """Takes the blocks of a prompt of so many tokens: (blocks that hit, blocks of its own); None where they do not fit."""
        hits = present = idle = shared = 0
        whole = True
        for piece in chain:
            shared += piece.blocks
            present += piece.present
            if not piece.users:
                idle += piece.present
            if whole:
                hits += piece.present
                whole = piece.present == piece.blocks
        hits = min(hits, (prompt - 1) // self.size)
        new = -(-prompt // self.size) - hits
        if new + idle > self.free:
            return None
        for piece in chain:
            if not piece.users:
                self.free -= piece.present
                if piece.unused is not None:
                    piece.unused.blocks, piece.unused = 0, None
            piece.users += 1
        self._take(new)
        for piece in chain:
            piece.present = piece.blocks
        return hits, new - (shared - present)

    def grow(self) -> bool:
        """Takes one block for an answer that goes on; False where there is none."""
        if self.free:
            self._take(1)
            return True
        return False

    def leave(self, chain: Sequence[Piece], own: int, tokens: int) -> None:
        """Gives back what a request of so many computed tokens held, `own` of it its own blocks."""
        partial = 1 if own and tokens % self.size else 0
        self._blank += partial
        self.free += own
        if self._bounded and own > partial:
            if self._unused and self._unused[-1].piece is None:
                self._unused[-1].blocks += own - partial
            else:
                self._unused.append(_Unused(None, own - partial))
        for piece in reversed(chain):
            piece.users -= 1
            if not piece.users:
                self.free += piece.present
                if self._bounded:
                    piece.unused = _Unused(piece, piece.present)
                    self._unused.append(piece.unused)

    def give_up(self, chain: Sequence[Piece], own: int, tokens: int) -> None:
        """Gives back what a prompt held of which so many tokens are computed: nothing is to be found in the blocks after those."""
        whole, start = tokens // self.size, 0
        for piece in chain:
            if piece.users == 1:
                kept = min(piece.present, max(whole - start, 0))
                self._blank += piece.present - kept
                self.free += piece.present - kept
                piece.present = kept
            start += piece.blocks
        full = min(own, max(whole - start, 0))
        self._blank += own - full
        self.free += own - full
        self.leave(chain, full, whole * self.size)

    def _take(self, blocks: int) -> None:
        self.free -= blocks
        if blocks <= self._blank:
            self._blank -= blocks
            return
        blocks -= self._blank
        self._blank = 0
        while blocks:
            first = self._unused[0]
            taken = min(first.blocks, blocks)
            first.blocks -= taken
            blocks -= taken
            if first.piece is not None:
                first.piece.present -= taken
            if not first.blocks:
                self._unused.popleft()
                if first.piece is not None and taken:
                    first.piece.unused = None
