"""The boundary of sentiment, fitted once per model, wording and source and then kept beside the answers.

Fitted anew every night, labels close to it would flip from night to night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

import polars as pl
from filelock import FileLock, Timeout

from pipeline import durable
from pipeline.digest import digest
from pipeline.engine import Engine
from pipeline.errors import BadConfiguration, TaskFailed, TryAgain
from pipeline.order import ORDERS
from pipeline.rated import rated, too_few
from pipeline.records import Answer, Request
from pipeline.run import Loop
from pipeline.runtime import Runtime
from pipeline.store import Answers, Store
from pipeline.tasks.calibration import Anchor, Fit, Source, anchors
from pipeline.tasks.prompts import does_not_read
from pipeline.tasks.sentiment import QUESTIONS, calibrate
from pipeline.tokens import Tokens
from pipeline.upkeep import CALIBRATIONS
from pipeline.watched import watched

KEEPING = ".calibrations.lock"
KEPT_S = 60.0
"""Another run needs milliseconds to keep its fits."""
CALLED: dict[Source, str] = {"anchors": "the anchor reviews", "ratings": "rated reviews of the dump"}


class Teller(Protocol):
    """Who is told what happens."""

    def stage(self, what: str) -> None: ...
    def warn(self, what: str) -> None: ...


def fits_for(
    languages: Collection[str],
    runtime: Runtime,
    store: Store,
    tell: Teller,
    check: Callable[[], None],
    anew: bool = False,
    source: Source = "anchors",
    parts: Iterable[pl.DataFrame] = (),
) -> dict[str, Fit]:
    """By language the fits that are kept in the store; those that are not, or all `anew`, are fitted and kept. `parts`: the dump's reviews
    (columns text, language, rating), for `ratings`. A language with too few of those to be fitted on them falls back to the anchors, with
    a warning.

    Raises BadConfiguration where the model cannot answer, TryAgain.
    """
    fits: dict[str, Fit] = {}
    languages = set(languages)
    for one_of in dict.fromkeys((source, "anchors")):  # what the first has none for
        fits |= {} if anew else kept(store.folder, languages - set(fits), runtime.identity, one_of)
        missing = languages - set(fits)
        labelled = rated(parts, missing) if one_of == "ratings" else anchors(missing)
        if labelled:
            asked: Answers = AskAnew(store) if anew else store
            suspect = store.suspect if one_of == "ratings" else _nobody  # no anchor kills an engine that other reviews do not
            new = _fit(labelled, one_of, runtime.tokens, runtime.engine, tell, check, asked, suspect)
            fits |= keep(store.folder, new, runtime.identity, replace_others=anew)
        if one_of == "ratings" and (without := languages - set(fits)):
            tell.warn(f"{too_few(without)}; calibrating on the anchor reviews instead")
    for language, fit in sorted(fits.items()):
        if not fit.readable:
            tell.warn(f"{does_not_read([language])} (area under the curve on {CALLED[fit.source]}: {fit.auc:.2f})")
    return fits


def name_of(language: str, identity: str, source: Source = "anchors") -> str:
    """A fit's name: another model, question, source or set of anchors makes another fit. Other ratings do not, or labels would flip with
    every review that is added; dumps that differ in what their stars mean need a store each."""
    labelled = [asdict(one) for one in anchors([language])] if source == "anchors" else source
    return f"{language}-{digest([identity, repr((QUESTIONS[language], QUESTIONS['en'])), labelled])[:16]}"


def kept(folder: Path, languages: Collection[str], identity: str, source: Source = "anchors") -> dict[str, Fit]:
    """The kept fits of these languages; one that cannot be read counts as not there."""
    found = {}
    for language in sorted(languages):
        with suppress(OSError, ValueError, TypeError):
            found[language] = Fit(**json.loads((folder / CALIBRATIONS / f"{name_of(language, identity, source)}.json").read_text()))
    return found


def keep(folder: Path, fits: Mapping[str, Fit], identity: str, replace_others: bool = True) -> dict[str, Fit]:
    """Writes fits under their names; the fits that are kept then. Where other ones are not to be replaced, the first counts: runs that
    share a store, began together and fitted on unlike machines go by one boundary. Raises TryAgain."""
    found = dict(fits)
    try:
        (folder / CALIBRATIONS).mkdir(parents=True, exist_ok=True)
        with FileLock(folder / KEEPING, timeout=KEPT_S):
            for language, one in fits.items():
                there = {} if replace_others else kept(folder, {language}, identity, one.source)
                found |= there
                if not there:
                    durable.write_json(folder / CALIBRATIONS / f"{name_of(language, identity, one.source)}.json", asdict(one))
    except (OSError, Timeout) as error:
        raise TryAgain(f"{folder}: the calibration could not be kept ({durable.first_line(error)}); make room and run again") from None
    return found


def fit_sentiment(
    languages: Collection[str], tokens: Tokens, engine: Engine, tell: Teller, check: Callable[[], None], store: Answers | None = None
) -> dict[str, Fit]:
    """Asks the anchors in these languages: fits the boundary, and finds out which languages the model reads. Raises BadConfiguration."""
    return _fit(anchors(languages), "anchors", tokens, engine, tell, check, store)


def _nobody(_: Sequence[Request]) -> None:
    """Suspects none of these."""


def _fit(
    labelled: Sequence[Anchor],
    source: Source,
    tokens: Tokens,
    engine: Engine,
    tell: Teller,
    check: Callable[[], None],
    store: Answers | None,
    suspect: Callable[[Sequence[Request]], None] = _nobody,
) -> dict[str, Fit]:
    tell.stage(f"calibrating on {CALLED[source]}")
    loop = Loop([], ORDERS["fifo"], engine, store=store)
    try:
        with watched(loop, engine, check, suspect):
            fits: dict[str, Fit] = loop.finish(calibrate(tokens, labelled, some_may_fail=source == "ratings"), check)
    except TaskFailed as error:
        raise BadConfiguration(f"{error}; choose another --model") from None
    return {language: replace(one, source=source) for language, one in fits.items()}


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
