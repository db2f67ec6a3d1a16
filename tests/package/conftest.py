"""Fixtures: the source tree as it is tracked, what is built from it, and each of that installed into an environment of its own."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from outside import LOCK, UV, run
from tracked import ROOT, tracked


@dataclass(frozen=True)
class Built:
    """`wheel` is made from the source distribution, as an installer of that does it; `direct` from the tree."""

    sdist: Path
    wheel: Path
    direct: Path


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is tracked: a build writes into the tree that it builds from, and takes along what lies about in it."""
    folder = tmp_path_factory.mktemp("source")
    for name in tracked():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session")
def built(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """By the setuptools that is here, so that nothing is downloaded."""
    dist, direct = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("direct")
    build = (UV, "build", "--quiet", "--no-build-isolation", "--python", sys.executable)
    run(*build, "--out-dir", dist, source, cwd=source)
    run(*build, "--wheel", "--out-dir", direct, source, cwd=source)
    return Built(*dist.glob("*.tar.gz"), *dist.glob("*.whl"), *direct.glob("*.whl"))


@pytest.fixture(scope="session", params=["wheel", "sdist"])
def installed(request: pytest.FixtureRequest, built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with this archive and what it depends on, no extra: its folder of commands."""
    folder = tmp_path_factory.mktemp(request.param) / "environment"
    run(UV, "venv", "--quiet", "--python", sys.executable, folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    install = (UV, "pip", "install", "--quiet", "--python", python, "--constraint", LOCK)
    run(*install, getattr(built, request.param), cwd=folder.parent)
    return folder / "bin"


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    """A folder to stand in, far from the source tree."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    return tmp_path / "here"
