"""A lease that holds nobody off."""

from __future__ import annotations

from contextlib import nullcontext


class NoLease:
    def __init__(self, *_: object) -> None: ...

    def held(self) -> nullcontext[None]:
        return nullcontext()

    def confirm(self) -> None: ...

    def check(self) -> None: ...
