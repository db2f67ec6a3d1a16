"""A machine whose engine writes down every answer before it hands it out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from deterministic_engine import DeterministicEngine

from pipeline.models import Model
from pipeline.records import Answer


class LoggedEngine(DeterministicEngine):
    """Lines of `asked`: key, monotonic seconds. All processes of a machine share that clock."""

    def __init__(self, asked: Path, step_s: float, abort_s: float) -> None:
        super().__init__()
        self._asked = os.open(asked, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._step_s, self._abort_s = step_s, abort_s

    def step(self) -> Sequence[Answer]:
        time.sleep(self._step_s)
        answers = super().step()
        os.write(self._asked, "".join(f"{answer.key} {time.monotonic()}\n" for answer in answers).encode())
        return answers

    def abort(self) -> None:
        time.sleep(self._abort_s)
        super().abort()


class LoggedMachine:
    """The real model's tokenizer, no model behind the engine."""

    max_model_len, window, block_size, step_tokens, max_num_seqs = 4096, 8, 16, 1024, 4
    settings = {"device": "none"}  # noqa: RUF012
    answer_settings = {"dtype": "none"}  # noqa: RUF012

    def __init__(self, model: Model, asked: Path, step_s: float, abort_s: float) -> None:
        self._model, self._asked, self._step_s, self._abort_s = model, asked, step_s, abort_s

    def model(self) -> Model:
        return self._model

    def engine(self, model: Model) -> LoggedEngine:
        return LoggedEngine(self._asked, self._step_s, self._abort_s)
