"""What every run of these tests needs, loaded once by the server that forks them: imports and the tokenizer.

Nothing here runs Polars, whose threads would not survive a fork.
"""

import importlib
import sys
from pathlib import Path

for _unneeded in ("torch", "sklearn", "scipy"):  # transformers would import them: 25 seconds that a tokenizer does not need
    sys.modules.setdefault(_unneeded, None)
for _used in ("jobs.__main__", "jobs.merge", "pipeline.analysis"):
    importlib.import_module(_used)

from pipeline import models  # noqa: E402
from pipeline.tokens import Tokens  # noqa: E402

MODEL = models.get("embedded", Path("~/.cache/review-digest").expanduser())
TOKENS = Tokens(MODEL.folder)

for _unneeded in ("torch", "sklearn", "scipy"):
    if sys.modules[_unneeded] is None:
        del sys.modules[_unneeded]
importlib.import_module("sklearn.feature_extraction.text")  # finds who is compared with whom
