"""What every run of these tests needs, loaded once by the server that forks them: imports and the tokenizer. Nothing here runs Polars, whose
threads would not survive a fork."""

import sys

for _unneeded in ("torch", "sklearn", "scipy"):  # transformers would import them; for a tokenizer that is 25 seconds of nothing
    sys.modules.setdefault(_unneeded, None)

from pathlib import Path

import jobs.__main__  # noqa: F401
import jobs.analyze
import pipeline.analysis  # noqa: F401
from pipeline import models
from pipeline.tokens import Tokens

MODEL = models.get("embedded", Path("~/.cache/review-digest").expanduser())
TOKENS = Tokens(MODEL.folder)
