"""Fixtures: the embedded model, its tokenizer, and dumps written for a test."""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, settings

from pipeline import models
from pipeline.dump import Dump
from pipeline.engine import VllmEngine
from pipeline.engine_settings import settings as engine_settings
from pipeline.order import ORDERS
from pipeline.reviews import read
from pipeline.run import Loop
from pipeline.tasks.calibration import Fit, anchors
from pipeline.tasks.sentiment import calibrate
from pipeline.tokens import Tokens

collect_ignore = ["dags"]  # they need Airflow: `make test-airflow`

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure
settings.load_profile("steady")

Rows = Sequence[Mapping[str, Any]] | Mapping[str, Sequence[Any]]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="Write the prompts in tests/golden/ anew instead of comparing.")


@pytest.fixture(scope="session")
def model() -> models.Model:
    return models.get("embedded", Path("~/.cache/review-digest").expanduser())


@pytest.fixture(scope="session")
def tokens(model: models.Model) -> Tokens:
    return Tokens(model.folder)


@pytest.fixture(scope="session")
def engine(model: models.Model) -> VllmEngine:
    """The embedded model on a real vLLM, one engine for all tests that need one."""
    return VllmEngine(model.folder, engine_settings("cpu", {"max_num_seqs": 16}), "cpu")


@pytest.fixture(scope="session")
def fits(engine: VllmEngine, tokens: Tokens) -> Mapping[str, Fit]:
    found: Mapping[str, Fit] = Loop([], ORDERS["fifo"], engine).finish(calibrate(tokens, anchors(["en", "ko"])))
    return found


@pytest.fixture(scope="session")
def write_dump() -> Callable[..., str]:
    """`write_dump(path, rows, schema=None)` writes rows (or columns) as one Parquet file, folders included, and returns its path."""

    def write(path: Path, rows: Rows, schema: Mapping[str, Any] | None = None) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(rows, schema=schema, infer_schema_length=None).write_parquet(path)
        return str(path)

    return write


@pytest.fixture
def dump(tmp_path: Path, write_dump: Callable[..., str]) -> Callable[..., Dump]:
    """`dump({column: values}, ...)` reads rows from a fresh file each; `restaurant_id` and `text` are filled in where left out."""
    numbers = itertools.count()

    def one(columns: Mapping[str, Sequence[Any]]) -> str:
        height = len(next(iter(columns.values())))
        rows = {"restaurant_id": ["r"] * height, "text": [f"text {i}" for i in range(height)], **columns}
        return write_dump(tmp_path / f"{next(numbers)}.parquet", rows)

    return lambda *files, **options: read([one(columns) for columns in files], **options)


@pytest.fixture
def patched(tokens: Tokens) -> Iterator[pytest.MonkeyPatch]:
    """Runs that load nothing; see `nights.light`."""
    from nights import light

    with light(tokens) as patch:
        yield patch


@pytest.fixture
def nights(tmp_path: Path, model: models.Model, patched: pytest.MonkeyPatch) -> Any:
    """Runs one after another on one output and one store."""
    from nights import Nights

    return Nights(tmp_path, model)
