"""ROUGE through `rouge-score`: words that two texts have in common, pairs of words, longest common subsequence (Lin 2004, "ROUGE: A Package
for Automatic Evaluation of Summaries")."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

KINDS = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L"}
_TOKEN = re.compile(r"[가-힣]|[^\W_가-힣]+")


class Words:
    """Words in lower case, of Hangul single syllables: Korean words are inflected, so that whole ones hardly ever match. The package's own
    tokenizer keeps a to z and digits only, and Korean always scores 0."""

    def tokenize(self, text: str) -> list[str]:
        return _TOKEN.findall(text.casefold())


class Rouge:
    """F1 of a text against one or several others."""

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer  # imports nltk, of which nothing is downloaded unless sentences are to be split

        return RougeScorer(list(KINDS), tokenizer=Words())

    def f1(self, text: str, references: Sequence[str]) -> Mapping[str, float]:
        """By kind, the mean over the references: unlike the best of them it does not grow with their number. Needs one at least."""
        scores = [self._scorer.score(reference, text) for reference in references]
        return {kind: sum(score[kind].fmeasure for score in scores) / len(scores) for kind in KINDS}
