"""The second stage of strengths: a restaurant's praise beside that of its peers, and what it is better at.

Every figure is computed from tables of praise; the model only puts figures into words. A text with a figure that was not computed, or that
turns one around, gives way to a template.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.records import Answer, Comparison, Outcome, Plan, Praise, Request, Sampling, Strength
from pipeline.tasks.aspects import NAMES
from pipeline.tasks.comparison_wording import WORDINGS
from pipeline.tasks.figures import LEAST_REVIEWS, MARGIN, RULES, STEP, Figure, better, comparable, figures_of, mark_of, says_only
from pipeline.tasks.overlap import numbers
from pipeline.tasks.prompts import make_request
from pipeline.tokens import Tokens, concatenate

MOST_CLAIMS = 3
"""Claims of a restaurant that go with the figures of its second text."""
SAMPLING = Sampling(max_tokens=120, regex=r" [^\n]{20,320}[.。]")


@dataclass(frozen=True, slots=True)
class Stand:
    """What a restaurant brings to its comparison. `shown`: the figures of the comparison that its committed row shows, None without one."""

    restaurant_id: str
    language: str
    table: Praise
    found: tuple[Strength, ...]
    shown: str | None = None


class ComparisonTask:
    """Compares each restaurant with its peers as soon as their tables exist; one without peers is described alone."""

    name = "comparison"
    wording = f"{WORDINGS} {NAMES} {SAMPLING} {STEP} {MARGIN} {LEAST_REVIEWS} {MOST_CLAIMS} {RULES}"

    def __init__(
        self, tokens: Tokens, peers: Mapping[str, tuple[str, ...]], languages: Mapping[str, str], later: Collection[str] = ()
    ) -> None:
        """`peers` and main language by restaurant; a restaurant that is not in `peers` has none. `later`: those not compared here."""
        self._tokens, self._peers, self._languages, self._later = tokens, peers, languages, later

    def table(self, outcome: Outcome) -> Praise | None:
        strengths = outcome.results.get("strengths")
        return strengths.table if strengths else None

    def stand(self, outcome: Outcome) -> Stand | None:
        """Of a restaurant that is compared here and whose first stage left strengths."""
        strengths, name = outcome.results.get("strengths"), outcome.restaurant.restaurant_id
        if not strengths or name in self._later:
            return None
        return Stand(name, self._languages[name], strengths.table, strengths.found)

    def needs(self, restaurant_id: str) -> tuple[str, ...]:
        """Its peers."""
        return self._peers.get(restaurant_id, ())

    def plan(self, stand: Stand, tables: Mapping[str, Praise | None]) -> Plan:
        """Returns a Comparison, None where the committed row shows these figures already. `tables`: of its peers."""
        peers = self.needs(stand.restaurant_id)
        others = comparable(stand.table, tables.values())
        figures = figures_of(stand.table, others)
        mark = mark_of(figures, len(others), peers)
        if mark == stand.shown:
            return None
        wording, leads = WORDINGS[stand.language], better(figures)
        said = [one.claim for lead in leads for one in stand.found if one.aspect == lead.aspect]
        claims = [claim for claim in said if not numbers(claim)][:MOST_CLAIMS]  # every figure of the text is a computed one
        summary, strength = None, wording.strength_in_template(leads, claims, len(others))
        written = 0
        if others and figures:
            summary = wording.summary_in_template(figures, len(others))
            text = yield from self._say("compare", stand, wording.figures(figures, len(others)), wording.compare, figures, len(others))
            summary, written = (text, written + 1) if text else (summary, written)
        if leads:
            instruction = wording.strength if others else wording.strength_alone
            text = yield from self._say("strength", stand, wording.facts(leads, claims, len(others)), instruction, leads, len(others))
            strength, written = (text, written + 1) if text else (strength, written)
        return Comparison(summary, strength, "two-stage" if others else "single", peers, mark, written)

    def _say(self, stage: str, stand: Stand, facts: str, instruction: str, figures: Sequence[Figure], compared: int) -> Any:
        """Asks for one text; returns it where it says nothing but the figures, else None. Facts hold claims, which are the model's words
        about hostile reviews: encoded as reviews are."""
        wording = WORDINGS[stand.language]
        before, after = self._tokens.chat(wording.system, wording.start)
        lines = [one.ids for one in self._tokens.encode(facts.splitlines())]
        broken = [part for ids in lines for part in (ids, self._tokens.part("\n"))]
        system = self._tokens.part(before)
        prompt = concatenate(system, *broken, self._tokens.part(f"\n{instruction}{after}"))
        request: Request = make_request("strengths", stage, stand.restaurant_id, prompt, SAMPLING, common=len(system))
        answers: Mapping[str, Answer] = yield [request]
        answer = answers[request.key]
        text = f"{wording.start}{answer.text}".strip() if answer.usable else ""
        known = f"{facts} {instruction} {wording.start} {wording.vocabulary}"
        return text if says_only(text, figures, compared, known) else None
