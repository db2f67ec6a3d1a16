"""Which languages a model reads, as far as that is known before a run, and what finding out will cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import polars as pl

from pipeline.calibrations import kept
from pipeline.foreseen import EVERYBODY
from pipeline.job import Job
from pipeline.models import EMBEDDED
from pipeline.rated import rated
from pipeline.replay import Replay
from pipeline.run import NOBODY
from pipeline.runtime import Runtime
from pipeline.tasks.calibration import Anchor, Fit, anchors
from pipeline.tasks.sentiment import PROBE, calibrate
from pipeline.work import Work

READ_BY_EMBEDDED = frozenset({"en"})
"""What its package says, and its anchors: area under the curve 0.55 on the Korean ones."""


def planned_fits(
    languages: Collection[str], job: Job, runtime: Runtime, replay: Replay, parts: Iterable[pl.DataFrame] = ()
) -> tuple[dict[str, Fit], set[str]]:
    """As `calibrations.fits_for`, without asking: the fits that are kept, and for other languages an assumption, which are named beside
    them. What has to be asked for those is counted in the replay."""
    languages = set(languages)
    fits: dict[str, Fit] = {}
    assumed: set[str] = set()
    for source in dict.fromkeys((job.calibrate_on, "anchors")):
        known = kept(job.store, languages - set(fits), runtime.identity, source) if job.store else {}
        missing = languages - set(fits) - (set() if job.recalibrate else set(known))
        labelled = rated(parts, missing) if source == "ratings" else anchors(missing)
        if labelled:
            found = _asked(labelled, runtime, replay if not job.recalibrate else replace(replay, stored=None))
            fits |= {language: replace(one, source=source) for language, one in found.items()}
            unknown = {one.language for one in labelled} - set(found)
            assumed |= unknown - set(known)
            fits |= {language: known.get(language) or _assumption(runtime.model.name, language) for language in unknown}
        fits |= {language: one for language, one in known.items() if language not in fits}
    return fits, assumed


def _asked(labelled: list[Anchor], runtime: Runtime, replay: Replay) -> dict[str, Fit]:
    """Counts the questions; the fits where all of them are stored, else none. Of a language that the model is found not to read, those
    after the first are not asked: they are expected, not certain."""
    work = Work(NOBODY, {"": calibrate(runtime.tokens, labelled)})
    replay.drive(work)
    if "" in work.results:
        found: dict[str, Fit] = work.results[""]
        return found
    amount = replay.amounts.of("sentiment", "calibrate")
    later = {
        language: len([one for one in labelled if one.language == language]) - PROBE for language in {one.language for one in labelled}
    }
    most = sum(number for number in later.values() if number > 0)
    if most and amount.requests:
        likely = sum(later[language] for language in _read(runtime.model.name, later) if later[language] > 0)
        each = amount.prompt_tokens / amount.requests, amount.cached_tokens / amount.requests
        amount.expect(likely, likely * each[0], likely * each[1], most=most)
        if replay.foreseen:
            replay.foreseen.expect("sentiment", "calibrate", EVERYBODY, likely, tokens=round(each[0] - each[1]))
    return {}


def _assumption(model: str, language: str) -> Fit:
    """A fit in place of one that is not known yet; no row was ever computed with it, so none is carried over."""
    return Fit(1.0, 0.0, auc=1.0 if _read(model, {language}) else 0.5, accuracy=1.0, anchors=0)


def _read(model: str, languages: Collection[str]) -> set[str]:
    return set(languages) & READ_BY_EMBEDDED if model == EMBEDDED else set(languages)
