"""A machine whose engine answers at once, for measuring the job's own work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.engine_settings import settings
from pipeline.generated import BLAME, PRAISE
from pipeline.instant_engine import InstantEngine
from pipeline.machine import LocalMachine
from pipeline.models import EMBEDDED, Model
from pipeline.tasks.calibration import anchors
from pipeline.tokens import Tokens

SEQUENCES = 256


@dataclass(frozen=True)
class InstantMachine(LocalMachine):
    """As on a GPU, but that nothing is computed. `made`: its engines, the last one last."""

    tokens: list[Tokens] = field(default_factory=list)
    made: list[InstantEngine] = field(default_factory=list)

    def engine(self, model: Model) -> InstantEngine:  # type: ignore[override]
        self.tokens.extend([] if self.tokens else [Tokens(model.folder)])
        labelled = [(one.text, bool(one.label)) for one in anchors(["en"])]
        labelled += [(text.format("dish"), good) for texts, good in ((PRAISE, True), (BLAME, False)) for text in texts]
        self.made.append(InstantEngine(self.tokens[0], labelled, self.max_model_len, self.max_num_seqs))
        return self.made[-1]


def instant_machine(tell: Callable[[str], None]) -> InstantMachine:
    """With the batch of a GPU."""
    options = {**settings("cpu"), "max_num_seqs": SEQUENCES, "max_num_batched_tokens": 8192}
    return InstantMachine(EMBEDDED, "cpu", "continuous", options, Path("~/.cache/review-digest"), False, tell)
