"""What is in the wheel and in the source distribution, and what they say of themselves."""

import ast
import re
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tracked import ROOT, tracked

pytestmark = pytest.mark.package

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ELSEWHERE = {"_typeshed"}
"""Known to type checkers alone."""
BESIDE = {"jobs/runpod_worker.py": "requirements-runpod.lock"}
"""What such a file imports stands in a folder of its own, by that lock: no extra could be installed beside vLLM."""


def shipped():
    return {name for name in tracked() if name.startswith(("pipeline/", "jobs/"))}


def contents(wheel):
    """Checksums by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {one.filename: one.CRC for one in archive.infolist() if not one.is_dir()}


def told(wheel, name):
    with zipfile.ZipFile(wheel) as archive:
        (found,) = (one for one in archive.namelist() if one.endswith(f".dist-info/{name}"))
        return archive.read(found).decode()


def test_a_wheel_holds_every_file_of_both_packages_and_nothing_else(built):
    found = {name for name in contents(built.wheel) if ".dist-info/" not in name}
    assert found == shipped()
    assert {"pipeline/py.typed", "jobs/py.typed", "pipeline/tasks/anchors.jsonl"} <= found


def test_a_source_distribution_holds_all_that_builds_and_tests_the_project(built):
    with tarfile.open(built.sdist) as archive:
        found = {one.name.partition("/")[2] for one in archive.getmembers() if one.isfile()}
    assert set(tracked()) <= found
    made = {name for name in found - set(tracked()) if not name.startswith("review_digest.egg-info/")}
    assert made == {"PKG-INFO", "setup.cfg"}


def test_the_tree_and_the_source_distribution_give_the_same_wheel(built):
    assert contents(built.direct) == contents(built.wheel)


def test_metadata_say_what_pyproject_says(built):
    metadata = Parser().parsestr(told(built.wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], PROJECT["version"])
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_payload().startswith("# review-digest")
    assert "review-digest = jobs.__main__:main" in told(built.wheel, "entry_points.txt")


def test_the_version_is_written_in_one_place():
    code = [name for name in shipped() if name.endswith((".py", ".toml"))]
    named = [name for name in code if f'"{PROJECT["version"]}"' in (ROOT / name).read_text()]
    assert named == []


def imported():
    """Packages of others that the code imports anywhere, with a file that does."""
    for name in shipped():
        if not name.endswith(".py") or name.startswith("jobs/dags/"):  # those run in Airflow's environment
            continue
        for node in ast.walk(ast.parse((ROOT / name).read_text())):
            modules = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.append(node.module)
            for module in modules:
                if (first := module.partition(".")[0]) not in {*sys.stdlib_module_names, "pipeline", "jobs", *ELSEWHERE}:
                    yield first, name


def test_every_package_that_is_imported_is_a_dependency_or_in_an_extra():
    wanted = [
        *PROJECT["dependencies"],
        *(one for extra, names in PROJECT["optional-dependencies"].items() if extra != "dev" for one in names),
    ]
    declared = {canonicalize_name(Requirement(one).name) for one in wanted}
    known = packages_distributions()
    for module, file in imported():
        names = {canonicalize_name(one) for one in known.get(module, [module])}
        locked = (ROOT / BESIDE[file]).read_text().splitlines() if file in BESIDE else []
        beside = {canonicalize_name(line.partition("==")[0]) for line in locked}
        assert names & (declared | beside), f"{file} imports {module}, which neither pyproject.toml nor a lock of its own names"


@pytest.mark.parametrize(("device", "not_its"), [("cpu", "gpu"), ("gpu", "cpu")])
def test_the_locks_hold_a_version_that_fits_of_every_dependency(device, not_its):
    extras = set(re.findall(r"--extra (\w+)", (ROOT / ".ci" / "lock").read_text())) - {not_its}
    wanted = [*PROJECT["dependencies"], *(one for extra in extras for one in PROJECT["optional-dependencies"][extra])]
    locked = {}
    for line in (ROOT / f"requirements-{device}.lock").read_text().splitlines():
        one = Requirement(line)
        locked.setdefault(canonicalize_name(one.name), []).extend(spec.version for spec in one.specifier)
    for one in map(Requirement, wanted):
        found = locked.get(canonicalize_name(one.name), [])
        assert any(one.specifier.contains(version) for version in found), f"{one} in requirements-{device}.lock: {found}; run `make lock`"
