"""The README's first part, typed as it stands there, in a folder with nothing but the source tree."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest
from outside import run
from tracked import ROOT

pytestmark = pytest.mark.package

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PART = TEXT[TEXT.index("## First results") : TEXT.index("## For the operator")]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PART, re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, block in BLOCKS if not language for line in block.splitlines() if line.startswith(("make ", ".venv/"))]
SCRIPTS = [block for language, block in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def tree(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source tree, with a dump of somebody's own."""
    folder = tmp_path_factory.mktemp("newcomer") / "tree"
    shutil.copytree(source, folder)
    few = pl.read_parquet(folder / "data/sample/reviews.parquet").filter(pl.col("restaurant_id").is_in(["marigold-loom", "eggwell"]))
    assert few.height > 1
    few.write_parquet(folder / "reviews.parquet")
    return folder


def typed(tree: Path, *command: str) -> str:
    return run(*command, cwd=tree, PATH=f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}").stdout


def test_every_line_and_every_block_of_the_first_part_works_in_the_order_it_stands_in(tree):
    assert COMMANDS[0].split()[:2] == ["make", "run"]
    assert any("INPUT=reviews.parquet" in line for line in COMMANDS)
    assert len(SCRIPTS) >= 4
    for line in COMMANDS:
        last = typed(tree, *shlex.split(line, comments=True)).splitlines()[-1]
        assert (tree / last).is_file(), line
    needed = re.findall(r"# \w+: pip install (\w+)", PART)
    typed(tree, ".venv/bin/python", "-m", "pip", "install", "--quiet", *needed)
    for script in SCRIPTS:
        said = typed(tree, ".venv/bin/python", "-c", script)
        assert "restaurant_name" in said or "print" not in script, script
    assert (tree / "results-of-my-notebook/current/restaurants.parquet").is_file()
