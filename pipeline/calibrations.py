"""The boundary of sentiment, fitted once per model and wording and then kept beside the answers.

Fitted anew every night, labels close to it would flip from night to night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Protocol

from pipeline import durable
from pipeline.engine import Engine
from pipeline.errors import BadConfiguration, TaskFailed, TryAgain
from pipeline.manifest import digest
from pipeline.order import ORDERS
from pipeline.records import Answer, Request
from pipeline.run import Loop
from pipeline.runtime import Runtime
from pipeline.store import Answers, Store
from pipeline.tasks.calibration import Fit, anchors
from pipeline.tasks.prompts import does_not_read
from pipeline.tasks.sentiment import QUESTION, calibrate
from pipeline.tokens import Tokens
from pipeline.upkeep import CALIBRATIONS


class Teller(Protocol):
    """Who is told what happens."""

    def stage(self, what: str) -> None: ...


def fits_for(
    languages: Collection[str], runtime: Runtime, store: Store, tell: Teller, check: Callable[[], None], anew: bool
) -> dict[str, Fit]:
    """By language, the fits that are kept in the store; those that are not, or all `anew`, are fitted and kept.

    Raises BadConfiguration where the model cannot answer, TryAgain.
    """
    fits = {} if anew else kept(store.folder, languages, runtime.identity)
    missing = set(languages) - set(fits)
    if missing:
        asked: Answers = AskAnew(store) if anew else store
        new = fit_sentiment(missing, runtime.tokens, runtime.engine, tell, check, asked)
        keep(store.folder, new, runtime.identity)
        fits |= new
    for language, one in fits.items():
        if not one.readable:
            tell.stage(f"warning: {does_not_read([language])} (area under the curve on its anchor reviews: {one.auc:.2f})")
    return fits


def name_of(language: str, identity: str) -> str:
    """A fit's name: another model, question or set of anchors makes another fit."""
    return f"{language}-{digest([identity, repr(QUESTION), [asdict(one) for one in anchors([language])]])[:16]}"


def kept(folder: Path, languages: Collection[str], identity: str) -> dict[str, Fit]:
    """The kept fits of these languages; one that cannot be read counts as not there."""
    found = {}
    for language in sorted(languages):
        with suppress(OSError, ValueError, TypeError):
            found[language] = Fit(**json.loads((folder / CALIBRATIONS / f"{name_of(language, identity)}.json").read_text()))
    return found


def keep(folder: Path, fits: dict[str, Fit], identity: str) -> None:
    """Writes fits under their names. Raises TryAgain."""
    try:
        (folder / CALIBRATIONS).mkdir(parents=True, exist_ok=True)
        for language, one in fits.items():
            durable.write_json(folder / CALIBRATIONS / f"{name_of(language, identity)}.json", asdict(one))
    except OSError as error:
        raise TryAgain(f"{folder}: the calibration could not be kept ({durable.first_line(error)}); make room and run again") from None


def fit_sentiment(
    languages: Collection[str], tokens: Tokens, engine: Engine, tell: Teller, check: Callable[[], None], store: Answers | None = None
) -> dict[str, Fit]:
    """Asks the anchors in these languages: fits the boundary, and finds out which languages the model reads. Raises BadConfiguration."""
    tell.stage("calibrating on the anchor reviews")
    try:
        fits: dict[str, Fit] = Loop([], ORDERS["fifo"], engine, store=store).finish(calibrate(tokens, anchors(languages)), check)
    except TaskFailed as error:
        raise BadConfiguration(f"{error}; choose another --model") from None
    return fits


class AskAnew:
    """A store that is added to and not asked, for a calibration that is to be measured again."""

    def __init__(self, store: Answers) -> None:
        self._store = store

    def find(self, keys: Sequence[str]) -> Iterator[Answer]:
        return iter(())

    def add(self, request: Request, answer: Answer) -> None:
        self._store.add(request, answer)

    def deaths(self, key: str) -> int:
        return self._store.deaths(key)
