"""Text from files on its way to a terminal."""

from __future__ import annotations

MOST_SHOWN = 200


def printable(text: object, most: int = MOST_SHOWN) -> str:
    """One line of at most `most` characters, what a terminal would act on written as an escape.

    Names in a dump are anyone's: a column called `\\x1b[2J` would clear the screen of whoever reads the error.
    """
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text)[: most + 1])
    return shown if len(shown) <= most else shown[: most - 3] + "..."
