"""The command as it is typed, on a small dump, with an engine without a model; what stderr and a file of metrics then say."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
from nights import Machine
from test_analysis import SCHEMA, rows
from test_cli import Done, jobs

from jobs import expand_queries
from pipeline import api


@dataclass
class Watched:
    """Commands on one dump and one output. `machines`: those that were made."""

    folder: Path
    machines: list = field(default_factory=list)

    def analyze(self, *arguments, dump=None, output="out", **environment) -> Done:
        return jobs("analyze", dump or self.dump(), "--output", self.folder / output, *arguments, **environment)

    def dump(self, made=None, name="dump.parquet") -> Path:
        path = self.folder / name
        if made is not None or not path.exists():
            pl.DataFrame(made or rows([3, 2, 4], broken=1), schema=SCHEMA, orient="row").write_parquet(path)
        return path

    def manifest(self, output="out") -> dict:
        return json.loads((self.folder / output / "current" / "manifest.json").read_text())


def watched(folder, model, patch, **engine) -> Watched:
    """Ready to be called; `engine`: options of the one without a model."""
    found = Watched(folder)

    def machine(*_, **__):
        found.machines.append(Machine(model, **engine))
        return found.machines[-1]

    patch.setattr(api, "local_machine", machine)
    patch.setattr(expand_queries, "make_any_machine", machine)
    return found


def lines(done: Done) -> list[dict]:
    """Everything on stderr, each line an object."""
    return [json.loads(line) for line in done.stderr.splitlines()]
