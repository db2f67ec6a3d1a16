"""Fixtures: the embedded model, its tokenizer, and one shared engine on it."""

from pathlib import Path

import pytest

from pipeline import models
from pipeline.tokens import Tokens


@pytest.fixture(scope="session")
def model():
    return models.get("embedded", Path("~/.cache/review-digest").expanduser())


@pytest.fixture(scope="session")
def tokens(model):
    return Tokens(model.folder)
