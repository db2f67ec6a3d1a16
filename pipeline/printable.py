"""Text from files on its way to a terminal."""

from __future__ import annotations

MOST_SHOWN = 200


def printable(text: object) -> str:
    """One line of at most 200 characters, what a terminal would act on written as an escape.

    Names in a dump are anyone's: a column called `\\x1b[2J` would clear the screen of whoever reads the error.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[: MOST_SHOWN + 1])
    return shown if len(shown) <= MOST_SHOWN else shown[: MOST_SHOWN - 3] + "..."
