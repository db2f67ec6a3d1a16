"""The files in jobs/deploy, run as cron and systemd would run them."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.analyze import analyze
from pipeline import results

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "jobs/deploy"
SCRIPT = Path(sys.executable).with_name("review-digest")
SETTING = re.compile(r"([A-Za-z_]\w*)\s*=\s*(.*)")
JOB = re.compile(r"(?:[-\d*/,]+\s+){5}(.+)")
SOME = "bogie-bun cafe-ostrander"
"""Restaurants of the sample whose few reviews are in English: the embedded model has nothing to warn of."""


def table(commented: bool = False) -> tuple[dict[str, str], list[str]]:
    """The crontab as cron reads it: its settings, and its commands; or the commands that are commented out."""
    settings, commands = {}, []
    for line in (DEPLOY / "crontab").read_text().splitlines():
        if commented:
            line = line.removeprefix("# ") if JOB.fullmatch(line.removeprefix("# ")) else ""
        if not line.strip() or line.startswith("#"):
            continue
        if setting := SETTING.fullmatch(line):
            settings[setting[1]] = setting[2]
        else:
            command = JOB.fullmatch(line)[1]
            assert not re.search(r"(?<!\\)%", command), "cron would end the command there"
            commands.append(command.replace(r"\%", "%"))
    return settings, commands


def as_cron(command: str, settings: dict[str, str], **changed: object) -> subprocess.CompletedProcess[str]:
    """By cron's shell, in cron's environment, with the table's settings but for those `changed`."""
    bare = {"HOME": str(Path.home()), "LOGNAME": "operator", "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"}
    environment = bare | settings | {name: str(value) for name, value in changed.items()}
    return subprocess.run(
        ["/bin/sh", "-c", command], env=environment, cwd=bare["HOME"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cron") / "digests"


@pytest.fixture(scope="module")
def nightly(output, model):
    """Runs the line of the crontab on the sample: exit code, and what cron would send by mail."""
    settings, (command,) = table()

    def run(dump: Path = ROOT / "data/sample/reviews.parquet") -> tuple[int, list[str]]:
        done = as_cron(command, settings, DIGEST=SCRIPT, INPUT=dump, OUTPUT=output, REVIEW_DIGEST_ANALYZE_RESTAURANT=SOME)
        return done.returncode, [*done.stdout.splitlines(), *done.stderr.splitlines()]

    return run


@pytest.fixture(scope="module")
def first(nightly):
    return nightly()


def test_the_line_of_the_crontab_commits_and_sends_no_mail(first, nightly, output):
    assert first == (0, [])
    folder, manifest = results.committed(output)
    assert (manifest["counts"]["selected"], manifest["counts"]["missing"]) == (2, 0)
    assert nightly() == (0, [])
    assert results.committed(output)[0] == folder


def test_a_night_that_fails_sends_one_line(first, nightly, output, tmp_path):
    committed = results.committed(output)
    code, (line,) = nightly(tmp_path / "nowhere.parquet")
    assert (code, line.split(": ")[0]) == (66, "error")
    (tmp_path / "text.parquet").write_text("no parquet at all")
    code, (line,) = nightly(tmp_path / "text.parquet")
    assert (code, line.split(": ")[0]) == (65, "error")
    assert results.committed(output) == committed


def test_a_night_that_finds_the_last_one_at_work_sends_one_line(first, nightly, output):
    with results.lock(output):
        code, (line,) = nightly()
    assert code == 75
    assert "held by another run" in line


@pytest.fixture
def told(tmp_path):
    """A stub for the job, and a function that gives the words it was called with."""
    stub, words = tmp_path / "review-digest", tmp_path / "words"
    stub.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {words}\necho said\nexit 3\n')
    stub.chmod(0o755)
    return stub, lambda: words.read_text().splitlines()


@pytest.mark.parametrize("commented", [False, True])
def test_every_line_of_the_crontab_calls_the_job_with_options_it_has(told, tmp_path, monkeypatch, commented):
    stub, words = told
    settings, commands = table(commented)
    assert commands
    for command in commands:
        done = as_cron(command, settings or table()[0], DIGEST=stub, INPUT="dump.parquet", OUTPUT=tmp_path / "out")
        assert done.stderr == ""
        if words()[0] == "analyze":
            parsed = analyze.make_context("analyze", words()[1:]).params
            assert (parsed["inputs"], str(parsed["output"])) == (("dump.parquet",), str(tmp_path / "out"))
        if "tail" in command:
            assert (done.stdout, (tmp_path / "out.log").read_text()) == ("said\n", "said\n")


def test_every_setting_of_the_crontab_is_read_by_the_job(monkeypatch):
    known = {f"REVIEW_DIGEST_ANALYZE_{param.name.upper()}" for param in analyze.params}
    text = (DEPLOY / "crontab").read_text() + (DEPLOY / "review-digest.service").read_text()
    assert set(re.findall(r"\b(REVIEW_DIGEST_ANALYZE_\w+)=", text)) - {"REVIEW_DIGEST_ANALYZE_NAME"} <= known


def unit() -> Iterator[tuple[str, str]]:
    for line in (DEPLOY / "review-digest.service").read_text().splitlines():
        if setting := SETTING.fullmatch(line):
            yield setting[1], setting[2]


def test_the_service_calls_the_job_with_options_it_has_and_treats_its_exit_codes():
    settings = dict(unit())
    script, command, *words = settings["ExecStart"].split()
    assert (Path(script).name, command) == ("review-digest", "analyze")
    assert analyze.make_context("analyze", words).params["skip_exit_code"] == 99
    assert settings["SuccessExitStatus"].split() == ["99", "143"]
    assert settings["RestartForceExitStatus"] == "75"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_has_nothing_to_say_against_its_files(tmp_path):
    for name in ("review-digest.service", "review-digest.timer"):
        there = (DEPLOY / name).read_text().replace("/opt/review-digest/.venv/bin/review-digest", str(SCRIPT))
        (tmp_path / name).write_text(re.sub("(?m)^User=.*", f"User={os.getuid()}", there))
    command = ["systemd-analyze", "verify", "--man=no", *map(str, sorted(tmp_path.iterdir()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
