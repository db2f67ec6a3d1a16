"""Where the boundary between a satisfied and a dissatisfied guest lies for a model and a wording, fitted on labelled reviews.

The anchors were written for this project: of one word and of a hundred, plain ones and mixed, mistyped and ironic ones, as many satisfied
as not. No label of the analysed dump is used unless it is asked for. The same fit tells whether the model reads a language at all: where it
does not tell satisfied anchors from dissatisfied ones, reviews in that language stay unlabelled.

One line for all lengths: with the logarithm of a review's length as a second feature, for all or for those under 100 characters alone,
balanced accuracy on rated reviews was .886 and .879 under 100 characters against .876, but .889 over it against .914.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

LEAST_AUC = 0.75
"""Area under the curve on a language's anchors below which the model is taken not to read it (0.5 is a coin)."""

Source = Literal["anchors", "ratings"]
"""What a fit is on: the written anchors, or rated reviews of the dump that stand in their place."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A review whose verdict is known; `label` 1 for a satisfied guest."""

    text: str
    label: int
    language: str


@dataclass(frozen=True, slots=True)
class Fit:
    """score = slope * raw + intercept, in log-odds; `auc` and balanced `accuracy` on the reviews it was fitted on, `anchors` of them, from
    this `source`."""

    slope: float
    intercept: float
    auc: float
    accuracy: float
    anchors: int
    source: Source = "anchors"

    @property
    def readable(self) -> bool:
        return self.auc >= LEAST_AUC and self.slope > 0

    def score(self, raw: float) -> float:
        return self.slope * raw + self.intercept


def anchors(languages: Collection[str]) -> list[Anchor]:
    """The written anchor reviews in these languages."""
    lines = files("pipeline.tasks").joinpath("anchors.jsonl").read_text(encoding="utf-8").splitlines()
    return [anchor for anchor in (Anchor(**json.loads(line)) for line in lines if line) if anchor.language in languages]


WEIGHT = 174
"""Of all labelled reviews against the penalty, half of it for either label however many there are; the number of English anchors."""


def fit(raw: Mapping[Anchor, float]) -> dict[str, Fit]:
    """Logistic regression with two parameters per language, on raw log-odds by anchor (Platt 1999, "Probabilistic Outputs for Support
    Vector Machines", with a weak L2 penalty since anchors may be separable). Both labels weigh alike however many there are of each, so
    that a dump of mostly satisfied guests does not draw the boundary to its side."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    fits = {}
    for language in sorted({anchor.language for anchor in raw}):
        some = [(anchor.label, [value]) for anchor, value in raw.items() if anchor.language == language]
        labels, values = [label for label, _ in some], [value for _, value in some]
        if len(set(labels)) < 2:
            continue
        each = {label: WEIGHT / 2 / labels.count(label) for label in set(labels)}
        model = LogisticRegression(C=1.0, tol=1e-8).fit(values, labels, sample_weight=[each[label] for label in labels])
        fits[language] = Fit(
            slope=float(model.coef_[0][0]),
            intercept=float(model.intercept_[0]),
            auc=float(roc_auc_score(labels, [value for (value,) in values])),
            accuracy=float(balanced_accuracy_score(labels, model.predict(values))),
            anchors=len(some),
        )
    return fits
