"""Run after run over a dump that changes: the whole flow, an engine without a model, one tokenizer for all runs."""

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from deterministic_engine import DeterministicEngine
from test_analysis import SCHEMA, FakeMachine, Silent

from pipeline import results, watched
from pipeline.analysis import analyze
from pipeline.errors import EngineDied
from pipeline.job import Job
from pipeline.order import ORDERS
from pipeline.runtime import Runtime
from pipeline.schemas import RUN_COLUMNS
from pipeline.tasks import sentiment
from pipeline.tasks.calibration import Fit

TABLES = ("restaurants", "reviews", "rejects", "requests")


@contextmanager
def light(tokens):
    """Every run gets this tokenizer (loading one takes seconds), every language counts as read, and an engine may die without a wait."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runtime, "tokens", tokens)
        patch.setattr(sentiment, "fit", lambda raw: {one.language: Fit(1.0, 0.0, 0.95, 0.9, 80) for one in raw})
        patch.setattr(watched, "SIGNAL_S", 0)
        yield patch


class MortalEngine(DeterministicEngine):
    """Dies at a step at which `dies` says so of the requests inside. `paid`: keys of the good answers it gave."""

    def __init__(self, dies=lambda inside: False, **engine):
        super().__init__(**engine)
        self._dies = dies
        self.last_inside = []
        self.paid = set()

    def step(self):
        self.last_inside = [request for _, _, request in self._inside]
        if self._dies(self.last_inside):
            raise EngineDied("the engine died (made to die); run the same command again")
        answers = super().step()
        self.paid.update(answer.key for answer in answers if answer.usable)
        return answers


class Machine(FakeMachine):
    """`submitted`: what its engine was asked, anchors left out unless `anchors`."""

    def engine(self, model):
        self.loaded += 1
        self.engines.append(MortalEngine(**self._engine))
        return self.engines[-1]

    def submitted(self, anchors=False):
        return [request for engine in self.engines for request in engine.submitted if anchors == (request.stage == "calibrate")]


@dataclass(frozen=True)
class Night:
    """One committed run (or none, where nothing was new) and what its engine was asked."""

    done: object
    tables: dict
    machine: Machine

    @property
    def restaurants(self):
        return {row["restaurant_id"]: row for row in self.tables["restaurants"].iter_rows(named=True)}

    @property
    def asked(self):
        """Everything but the anchors, as (task, stage, restaurant) in the order in which it was submitted."""
        return [(request.task, request.stage, request.restaurant_id) for request in self.machine.submitted()]


class Nights:
    """A folder with a dump, an output and a store."""

    def __init__(self, folder: Path, model):
        self.folder, self._model = folder, model

    def run(self, rows, machine=None, order="restaurant", stop=None, seed=None, output="out", **job):
        """`rows`: as SCHEMA, or mappings of it. Unless told otherwise the answers are kept in the folder's store."""
        frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
        path = self.folder / "dump.parquet"
        (frame if seed is None else frame.sample(fraction=1, shuffle=True, seed=seed)).write_parquet(path)
        machine = machine or self.machine()
        job = {"store": self.folder / "store", **job}
        done = analyze(Job([str(path)], self.folder / output, **job), ORDERS[order], machine, Silent(), stop)
        return Night(done, read(done.manifest_path.parent), machine)

    def machine(self, **engine):
        return Machine(self._model, **engine)

    def committed(self, output="out"):
        """The tables that readers see, none before the first commit."""
        there = results.committed(self.folder / output)
        return read(there[0]) if there else None


def read(folder):
    return {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES}


def result(tables):
    """The columns that depend on the dump alone."""
    restaurants = tables["restaurants"].drop(RUN_COLUMNS)
    return {"restaurants": restaurants, "reviews": tables["reviews"], "rejects": tables["rejects"].sort("source_file", "source_row")}


def assert_equal(tables, expected):
    """Same results, the run's own columns aside."""
    found, wanted = result(tables), result(expected)
    for name in wanted:
        if not found[name].equals(wanted[name]):
            differing = [(a, b) for a, b in zip(found[name].rows(), wanted[name].rows(), strict=False) if a != b]
            raise AssertionError(f"{name}: {found[name].height} rows, expected {wanted[name].height}; first that differ: {differing[:1]}")
