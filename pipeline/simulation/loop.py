"""The run's loop over a workload: which request is ready when, which goes next, and when each restaurant is complete.

The same order functions and the same bounded window as in `pipeline/run.py`; the engine is simulated.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace
from heapq import heappop, heappush
from itertools import count
from typing import Any

import polars as pl

from pipeline.costs import CostModel
from pipeline.forecast import Cost
from pipeline.order import Key, Order
from pipeline.priorities import Priorities
from pipeline.simulation.blocks import Piece
from pipeline.simulation.engine import Call, Shape, SimulatedEngine
from pipeline.simulation.turns import Turns
from pipeline.simulation.workload import Ask, Bundle, Shared, Workload
from pipeline.timeline import REQUESTS, RESTAURANTS, Timeline, table


class _Open:
    """A restaurant under way: per stage, answers missing and stages it waits for; `first` stages that are not answered, `left` of all;
    `peers` that are not complete. `costs`: of its first stage and of its comparison, once they are known."""

    __slots__ = ("bundle", "compared_s", "costs", "finished_s", "first", "left", "missing", "numbers", "peers", "pieces", "place", "waits")

    def __init__(self, bundle: Bundle, place: int) -> None:
        self.bundle, self.place = bundle, place
        self.missing = [len(stage.asks) for stage in bundle.stages]
        self.waits = [len(stage.after) for stage in bundle.stages]
        self.first, self.left, self.peers = sum(not stage.compares for stage in bundle.stages), len(bundle.stages), 0
        self.costs: list[Cost | None] = [None, None]
        self.numbers = (count(), count())
        self.pieces: dict[int, Piece] = {}
        self.finished_s: float | None = None
        self.compared_s: float | None = None


Waiting = tuple[Ask, _Open, int]
"""A request of a stage of a restaurant."""


class Simulation:
    """One pass over a workload, whose restaurants go in by the order's own columns, as in a run."""

    def __init__(
        self, workload: Workload, order: Order, shape: Shape, model: CostModel, together: bool = False, priorities: Priorities | None = None
    ) -> None:
        """`together`: everything that is ready goes to the engine at once, and nothing comes back before all of it is done."""
        self._workload, self._shape, self._together = workload, shape, together
        self._engine = SimulatedEngine(shape, model)
        self._turns = Turns(order, priorities or Priorities(), shape, model, self._engine)
        self._ready: list[tuple[Key, int, Waiting]] = []
        self._ties = count()
        self._new: list[Waiting] = []
        self._pieces: dict[int, Piece] = {}
        self._done: set[int] = set()
        self._waiting: dict[int, list[_Open]] = {}
        self._opened: list[_Open] = []
        self._columns: list[Any] = [[] if dtype == pl.String() else array("d" if dtype.is_float() else "q") for dtype in REQUESTS.values()]
        self._started: dict[int, int] = {}

    def run(self) -> Timeline:
        """The whole pass."""
        window = self._shape.window
        lookahead = float("inf") if self._turns.whole or self._together else 2 * window
        coming = self._in_order()
        more = True
        while more or self._ready or self._engine.unfinished:
            if more and len(self._ready) < lookahead:
                more = self._admit_some(coming, 2 * window)
                continue
            while self._ready and (self._together or self._engine.unfinished < window):
                key, _, asked = heappop(self._ready)
                self._submit(asked, self._turns.rank(key))
            if not self._engine.unfinished:
                break
            for call in self._finished():
                self._deliver(call)
            self._settle()
        return self._timeline()

    def _in_order(self) -> Iterator[tuple[int, Bundle]]:
        for place, restaurant in self._turns.entering(self._workload):
            yield place, replace(self._workload.bundle(place), restaurant=restaurant)

    def _finished(self) -> Sequence[Call]:
        if not self._together:
            return self._engine.step()
        done: list[Call] = []
        while self._engine.unfinished:
            done += self._engine.step()
        return done

    def _admit_some(self, coming: Iterator[tuple[int, Bundle]], enough: int) -> bool:
        for place, bundle in coming:
            opened = _Open(bundle, place)
            self._opened.append(opened)
            for number, stage in enumerate(bundle.stages):
                if not stage.after and not stage.compares:
                    self._ask(opened, number)
            if not opened.first:
                self._complete(opened)
            if len(self._new) >= enough:
                self._settle()
                return True
        self._settle()
        return False

    def _ask(self, opened: _Open, number: int) -> None:
        asks = opened.bundle.stages[number].asks
        if asks:
            self._new += [(ask, opened, number) for ask in asks]
        else:
            self._answered(opened, number)

    def _settle(self) -> None:
        """What is new becomes ready. A restaurant's cost is that of its first questions, a comparison's that of its own, as in a run."""
        while self._new:
            new, self._new = self._new, []
            unpriced: dict[tuple[int, bool], tuple[_Open, list[Ask]]] = {}
            for ask, opened, number in new:
                compares = opened.bundle.stages[number].compares
                if opened.costs[compares] is None:
                    unpriced.setdefault((opened.place, compares), (opened, []))[1].append(ask)
            for (_, compares), (opened, asks) in unpriced.items():
                opened.costs[compares] = self._turns.cost(ask.request for ask in asks)
            for ask, opened, number in new:
                compares = opened.bundle.stages[number].compares
                key = self._turns.key(
                    ask.request, opened.bundle.restaurant, opened.costs[compares] or Cost(), next(opened.numbers[compares])
                )
                heappush(self._ready, (key, next(self._ties), (ask, opened, number)))

    def _submit(self, asked: Waiting, rank: int) -> None:
        ask, opened, _ = asked
        self._started.setdefault(opened.place, len(self._started))
        self._engine.submit(Call(len(ask.request.prompt), ask.output_tokens, self._chain(opened, ask.shared), rank, asked))

    def _chain(self, opened: _Open, shared: Shared) -> tuple[Piece, ...]:
        """Its pieces in whole blocks: one that ends within a block leaves that block to what follows. None where nothing is cached."""
        if not self._shape.caches:
            return ()
        chain, tokens, blocks = [], 0, 0
        for number, more in shared:
            tokens += more
            whole = tokens // self._shape.block_size - blocks
            blocks += whole
            if whole:
                known = self._pieces if number >= 0 else opened.pieces
                piece = known.get(number)
                if piece is None:
                    piece = known[number] = Piece(whole)
                chain.append(piece)
        return tuple(chain)

    def _deliver(self, call: Call) -> None:
        ask, opened, number = call.owner
        request, now = ask.request, self._engine.now_s
        self._turns.answered(request, call)
        row = (
            opened.bundle.restaurant.arrival,
            request.task,
            request.stage,
            call.prompt,
            call.cached,
            call.output,
            call.first_s - call.sent_s,
            now,
            "ok",
        )
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)
        if opened.bundle.stages[number].compares:
            opened.compared_s = now
        else:
            opened.finished_s = now
        opened.missing[number] -= 1
        if not opened.missing[number]:
            self._answered(opened, number)

    def _answered(self, opened: _Open, number: int) -> None:
        """A stage is answered: those after it may begin; with the last of the first stage the restaurant is complete."""
        stages = opened.bundle.stages
        for later, stage in enumerate(stages):
            if number in stage.after:
                opened.waits[later] -= 1
                if not opened.waits[later]:
                    self._ask(opened, later)
        if not stages[number].compares:
            opened.first -= 1
            if not opened.first:
                self._complete(opened)
        opened.left -= 1
        if not opened.left:  # a large workload is not to be held as a whole
            opened.bundle, opened.pieces = Bundle(opened.bundle.restaurant, ()), {}

    def _complete(self, opened: _Open) -> None:
        """Its table is there: its comparison begins when its peers' are, and theirs may."""
        self._done.add(opened.place)
        self._turns.closed(opened.bundle.restaurant)
        missing = [peer for peer in opened.bundle.peers if peer not in self._done]
        opened.peers = len(missing)
        for peer in missing:
            self._waiting.setdefault(peer, []).append(opened)
        if not missing:
            self._compare(opened)
        for other in self._waiting.pop(opened.place, ()):
            other.peers -= 1
            if not other.peers:
                self._compare(other)

    def _compare(self, opened: _Open) -> None:
        for number, stage in enumerate(opened.bundle.stages):
            if stage.compares and not stage.after:
                self._ask(opened, number)

    def _timeline(self) -> Timeline:
        rows = [
            (
                one.bundle.restaurant.restaurant_id,
                one.bundle.restaurant.arrival,
                one.costs[0].prefill if one.costs[0] else 0,
                self._started.get(one.place),
                one.finished_s,
                one.compared_s,
                "ok",
            )
            for one in self._opened
        ]
        columns = dict(zip(RESTAURANTS, map(list, zip(*rows, strict=True)) if rows else [[] for _ in RESTAURANTS], strict=True))
        asked = dict(zip(REQUESTS, self._columns, strict=True))
        restaurants = table(columns, RESTAURANTS).sort("arrival")
        return Timeline(restaurants, table(asked, REQUESTS), self._engine.now_s, self._engine.steps, self._turns.due_s)
