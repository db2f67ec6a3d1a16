"""Nobody waits for ever: how far a restaurant may fall behind the place that first in, first out would have given it."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


class Aging(Generic[Name]):
    """Takes an order's choices one by one and replaces those that would let somebody else wait too long.

    Let F(r) be the tokens of all that arrived before r: what first in, first out would have fed before r starts. Chosen ones are gathered
    in turns; within a turn anybody may go before anybody, and no turn begins before the one before it was fed. Then r starts after at
    most F(r) + `most` tokens, whatever the order chooses and whoever arrives later.

    Proof. Let `fed` be the tokens chosen so far and o the oldest that is not in a finished turn. (1) A choice c joins the current turn
    only while fed + c <= F(o) + most. Everybody in the turn arrived no earlier than o, so the whole turn ends within F(r) + most for each r
    in it. (2) Otherwise the turn is finished, o moves on, and the choice is tried again; if it still fails, o itself is taken, alone at
    the beginning of a new turn. It starts after `fed` tokens, and fed <= F(o) + most holds always: (1) keeps it, and where o was taken
    both sides grow by its tokens, since the next o arrived after it. Those who arrive later change no F. Each one is handled in constant
    time, amortised.

    Overtaking is counted for the whole restaurant, so that its requests stay together. A bound on cumulated service against a reference
    order is that of fair queueing (Parekh and Gallager 1993, "A Generalized Processor Sharing Approach to Flow Control", IEEE/ACM ToN 1);
    here the reference is first in, first out.
    """

    def __init__(self, most: float) -> None:
        """`most`: tokens. 0 is first in, first out; infinity leaves every choice as it is."""
        self._most = most
        self._arrived: deque[Name] = deque()
        self._tokens: dict[Name, int] = {}
        self._finished: set[Name] = set()
        self._current: list[Name] = []
        self._turn = 0
        self._fed = 0
        self._ahead = 0

    def arrive(self, name: Name, tokens: int) -> None:
        """One more, after all that have arrived. `tokens`: its cost, 0 or more."""
        self._arrived.append(name)
        self._tokens[name] = tokens

    def take(self, choice: Name) -> tuple[Name, int]:
        """Who goes next where the order has chosen `choice` among those that have arrived and not been taken; and its turn, from 0."""
        if self._too_far(choice):
            self._finish_turn()
            if self._too_far(choice):
                choice = self._arrived[0]
        self._fed += self._tokens[choice]
        self._current.append(choice)
        return choice, self._turn

    def put_first(self, name: Name) -> None:
        """Takes one out of turn because a person wants it so. Its tokens come on top of the bound for those who arrived before it."""
        self._tokens[name] = 0
        self._finished.add(name)

    def _too_far(self, choice: Name) -> bool:
        return self._fed + self._tokens[choice] > self._ahead + self._most

    def _finish_turn(self) -> None:
        self._turn += bool(self._current)
        self._finished.update(self._current)
        self._current = []
        while self._arrived and self._arrived[0] in self._finished:
            name = self._arrived.popleft()
            self._finished.discard(name)
            self._ahead += self._tokens.pop(name)
