"""Words of the second stage, by language: what the model is told, and the templates that stand in where its text is not right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.tasks.aspects import NAMES
from pipeline.tasks.figures import MARGIN, Figure

MOST_NAMED = 3
"""Aspects of one direction in a template."""


@dataclass(frozen=True)
class Wording:
    """`start` begins the model's turn. Places in braces are filled in here; `vocabulary` are words that a good answer has besides."""

    language: str
    system: str
    table: str
    table_alone: str
    line: str
    line_alone: str
    claims: str
    compare: str
    strength: str
    strength_alone: str
    start: str
    vocabulary: str
    more: str
    less: str
    same: str
    best: str
    best_alone: str
    nothing: str
    nothing_alone: str
    named: str
    named_alone: str
    quoted: str

    def figures(self, figures: Sequence[Figure], compared: int) -> str:
        """The table that the model is shown, a line each."""
        head = self.table.format(compared=compared) if compared else self.table_alone
        return "\n".join([head, *(self._line(one) for one in figures)])

    def facts(self, figures: Sequence[Figure], claims: Sequence[str], compared: int) -> str:
        """Figures and what guests say, a line each."""
        said = [self.claims.format(claims="; ".join(claims))] if claims else []
        return "\n".join([self.figures(figures, compared), *said])

    def summary_in_template(self, figures: Sequence[Figure], compared: int) -> str:
        """The comparison without the model."""
        ahead = [one for one in figures if one.lead >= MARGIN][:MOST_NAMED]
        behind = [one for one in reversed(figures) if one.lead <= -MARGIN][:MOST_NAMED]
        parts = [
            form.format(compared=compared, named=self._named(some)) for form, some in ((self.more, ahead), (self.less, behind)) if some
        ]
        even = sorted(figures, key=lambda one: (-one.here, one.aspect))[:MOST_NAMED]
        return " ".join(parts) or self.same.format(compared=compared, named=self._named(even))

    def strength_in_template(self, leads: Sequence[Figure], claims: Sequence[str], compared: int) -> str:
        """What the restaurant is better at, without the model."""
        if not leads:
            return (self.nothing if compared else self.nothing_alone).format(compared=compared)
        form = self.best if compared else self.best_alone
        said = self.quoted.format(claims="; ".join(claims)) if claims else ""
        return form.format(compared=compared, named=self._named(leads[:MOST_NAMED])) + said

    def _line(self, figure: Figure) -> str:
        form = self.line if figure.there is not None else self.line_alone
        return form.format(name=NAMES[self.language][figure.aspect], here=figure.here, there=figure.there)

    def _named(self, figures: Sequence[Figure]) -> str:
        forms = [self.named if one.there is not None else self.named_alone for one in figures]
        names = NAMES[self.language]
        return ", ".join(
            form.format(name=names[one.aspect], here=one.here, there=one.there) for form, one in zip(forms, figures, strict=True)
        )


WORDINGS = {
    "en": Wording(
        language="en",
        system="You compare restaurants. You use only the figures given.",
        table="Share of reviews that praise an aspect, at this restaurant and at {compared} comparable restaurants:",
        table_alone="Share of reviews that praise an aspect:",
        line="- {name}: {here}% here, {there}% there",
        line_alone="- {name}: {here}% of reviews",
        claims="What guests say here: {claims}",
        compare=(
            "In one or two sentences, say what guests praise more often here than there and what less often; "
            "behind each aspect put its two figures in brackets."
        ),
        strength="In one sentence, say what this restaurant is better at than comparable ones.",
        strength_alone="In one sentence, say what guests praise at this restaurant.",
        start="Guests praise",
        vocabulary=(
            "compared restaurants restaurant guests praise praised praising reviews share more less often higher lower better here there "
            "while whereas against particularly stands out offers known peers elsewhere similar"
        ),
        more="Compared with {compared} comparable restaurants, more reviews praise: {named}.",
        less="Fewer reviews than at {compared} comparable restaurants praise: {named}.",
        same="About as many reviews as at {compared} comparable restaurants praise: {named}.",
        best="Better than comparable restaurants at {named}.",
        best_alone="Guests praise {named}.",
        nothing="No aspect is praised clearly more often than at comparable restaurants.",
        nothing_alone="No aspect is praised in particular.",
        named="{name} ({here}% of reviews against {there}%)",
        named_alone="{name} ({here}% of reviews)",
        quoted=" Guests say: {claims}.",
    ),
    "ko": Wording(
        language="ko",
        system="당신은 음식점을 비교합니다. 주어진 수치만 사용합니다.",
        table="각 항목을 칭찬한 리뷰의 비율 (이 음식점과 비교 대상 음식점 {compared}곳):",
        table_alone="각 항목을 칭찬한 리뷰의 비율:",
        line="- {name}: 이곳 {here}%, 비교 대상 {there}%",
        line_alone="- {name}: 리뷰의 {here}%",
        claims="손님들의 말: {claims}",
        compare=(
            "손님들이 비교 대상보다 이곳에서 더 자주 칭찬하는 점과 "
            "덜 자주 칭찬하는 점을, 항목마다 괄호에 두 수치를 넣어 한두 문장으로 쓰세요."
        ),
        strength="이 음식점이 비교 대상보다 나은 점을 한 문장으로 쓰세요.",
        strength_alone="손님들이 이 음식점에서 칭찬하는 점을 한 문장으로 쓰세요.",
        start="손님들은",
        vocabulary="비교 대상보다 이곳 음식점 손님들은 리뷰의 칭찬하는 칭찬합니다 칭찬받는 더 덜 자주 높고 낮습니다 반면",
        more="비교 대상 {compared}곳보다 더 많은 리뷰가 칭찬한 점: {named}.",
        less="비교 대상 {compared}곳보다 더 적은 리뷰가 칭찬한 점: {named}.",
        same="비교 대상 {compared}곳과 비슷하게 칭찬받은 점: {named}.",
        best="비교 대상보다 나은 점: {named}.",
        best_alone="손님들이 칭찬하는 점: {named}.",
        nothing="비교 대상보다 뚜렷이 더 자주 칭찬받는 점이 없습니다.",
        nothing_alone="특별히 칭찬받는 점이 없습니다.",
        named="{name} (리뷰의 {here}%, 비교 대상 {there}%)",
        named_alone="{name} (리뷰의 {here}%)",
        quoted=" 손님들의 말: {claims}.",
    ),
}
