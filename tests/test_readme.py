"""The README against the code: its generated parts, and every command line in it.

`README=PATH make test TESTS=tests/test_readme.py` holds another file against the code.
"""

import os
import re
import shlex
from pathlib import Path

import click
import pytest
import readme

from jobs.cli import COMMANDS, cli
from pipeline.errors import JobError

ROOT = Path(__file__).parent.parent
TEXT = Path(os.environ.get("README", ROOT / "README.md")).read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
VARIABLES = set(re.findall(r"^([A-Z]+) *\?=", MAKEFILE, re.MULTILINE))
BEHIND_MAKE = {"run": ["analyze", "reviews.parquet"], "bench": ["benchmark", "ways"]}
"""What ARGS are added to."""
BEFORE = re.compile(r"[A-Za-z_]\w*=.*|@\w+|[\d*/,-]+")
"""Words before a command's name: variables, a crontab's times."""
SCRIPT = re.compile(r"(\S*/)?review-digest")
IMAGE = re.compile(r"review-digest:\w+")
STARTERS = ("docker", "env", "exec", "flock", "nice", "podman", "sudo", "systemd-cat", "timeout")
"""Programs that start another one."""


def lines(text):
    """Those of blocks in a shell's or in no language, and what is said to type within a sentence."""
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if language in ("", "sh", "bash", "console", "cron"):
            yield from (line.strip().removeprefix("$ ") for line in block.replace("\\\n", " ").splitlines())
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    yield from re.findall(r"`((?:make|python|\.venv/bin/python|review-digest) [^`]+)`", outside)


def commands(text):
    """("make", arguments) and ("jobs", arguments) of each line that runs one of ours."""
    for line in lines(text):
        if line.startswith("Usage:"):
            continue
        try:
            words = shlex.split(line, comments=True)
        except ValueError:  # an apostrophe: what a command prints
            assert not re.match(r"make |\S*python -m jobs ", line), line
            continue
        for one in one_by_one(words):
            while one and BEFORE.fullmatch(one[0]):
                one = one[1:]
            if one[:1] == ["make"]:
                yield "make", tuple(one[1:])
            elif arguments := one[after_name(one) :]:
                yield "jobs", tuple(arguments)


def one_by_one(words):
    """The commands of a line, without what they are redirected to."""
    found, skip = [[]], False
    for word in words:
        if word in ("&&", "||", "|", ";", "&"):
            found.append([])
        elif skip or re.match(r"\d?[<>]", word):
            skip = bool(re.fullmatch(r"\d?[<>]+", word))
        else:
            found[-1].append(word)
    return found


def after_name(words):
    """Where the arguments of the command begin: of `python -m jobs`, of the script, or of an image that is run."""
    for place, word in enumerate(words):
        if words[place : place + 2] == ["-m", "jobs"]:
            return place + 2
        if (SCRIPT.fullmatch(word) and (place == 0 or words[0] in STARTERS)) or (IMAGE.fullmatch(word) and "run" in words):
            return place + 1
    return len(words)


@pytest.fixture
def parse(tmp_path, monkeypatch):
    """Raises click.UsageError where an option, a value or a command is not there. A shell's variables are 1. Nothing is run."""
    monkeypatch.setattr(click.Command, "invoke", lambda *_: None)
    monkeypatch.chdir(tmp_path)

    def one(arguments):
        for word in arguments:
            if word.endswith(".toml"):
                (tmp_path / Path(word).name).write_text("")
        local = [Path(word).name if word.endswith(".toml") else re.sub(r"\$\w+", "1", word) for word in arguments]
        try:
            cli.main(local, prog_name="python -m jobs", standalone_mode=False)
        except JobError as error:  # a file that an option names is not here
            assert error.exit_code == 66  # noqa: PT017

    return one


def wrong_in_make(arguments, parse):
    """What of a make command is not in the Makefile; options in ARGS are parsed."""
    target = next((word for word in arguments if "=" not in word), "help")
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    if "ARGS" in given and target in BEHIND_MAKE:
        parse([*BEHIND_MAKE[target], *shlex.split(given["ARGS"])])
    return ({target} - TARGETS) | (set(given) - VARIABLES)


def test_what_is_generated_says_what_the_code_says():
    again = readme.parts(readme.generated(TEXT))
    for what, found in readme.parts(TEXT).items():
        assert found == again[what], f"{what}: run `make readme`"


def test_every_command_every_table_and_the_exit_codes_are_in_the_readme():
    expected = {"help", "exit codes", *(f"help {name}" for name in COMMANDS), *(f"columns {name}" for name in readme.TABLES)}
    assert not expected - set(readme.parts(TEXT))


def test_every_column_has_a_meaning():
    for what, table in readme.parts(TEXT).items():
        assert not re.findall(r"^\| `(\w+)` \|[^|]*\|\s*\|$", table, re.MULTILINE), what


@pytest.mark.parametrize("arguments", sorted({words for kind, words in commands(TEXT) if kind == "jobs"}), ids=" ".join)
def test_every_command_line_has_only_options_that_there_are(arguments, parse):
    parse(arguments)


@pytest.mark.parametrize("arguments", sorted({words for kind, words in commands(TEXT) if kind == "make"}), ids=" ".join)
def test_every_make_line_has_only_targets_and_variables_that_there_are(arguments, parse):
    assert not wrong_in_make(arguments, parse)


def test_command_lines_are_found_wherever_they_stand():
    text = """
Type `make run INPUT=a.parquet` or `python -m jobs store size`.

```
30 5 * * *  cd /srv && REVIEW_DIGEST_ANALYZE_ORDER=fifo flock -n lock .venv/bin/python -m jobs analyze a.parquet --quiet >> log 2>&1
make run INPUT=a.parquet \\
  ARGS="--limit 5"    # five
docker run --rm review-digest:cpu plan a.parquet
pipx runpip review-digest install this
what it's printed
```

```python
make = "no shell"
```
"""
    assert sorted(commands(text)) == [
        ("jobs", ("analyze", "a.parquet", "--quiet")),
        ("jobs", ("plan", "a.parquet")),
        ("jobs", ("store", "size")),
        ("make", ("run", "INPUT=a.parquet")),
        ("make", ("run", "INPUT=a.parquet", "ARGS=--limit 5")),
    ]


@pytest.mark.parametrize("wrong", ["analyse a.parquet", "analyze a.parquet --limt 5", "analyze a.parquet --order lifo", "store size -x"])
def test_a_command_line_that_does_not_work_is_noticed(wrong, parse):
    with pytest.raises(click.UsageError):
        parse(wrong.split())


def test_a_make_line_that_does_not_work_is_noticed(parse):
    assert wrong_in_make(("rnu", "INPUT=a", "LIMIT=5"), parse) == {"rnu", "LIMIT"}
    with pytest.raises(click.UsageError):
        wrong_in_make(("run", "ARGS=--limt 5"), parse)


def test_generating_keeps_the_meanings_and_mends_the_rest():
    text = "Before\n<!-- generated: columns reviews -->\n| `score` | text | log-odds |\n| `gone` | text | of old |\n<!-- end -->\nAfter\n"
    found = readme.generated(text)
    assert found.startswith("Before\n<!-- generated: columns reviews -->\n| column | type | meaning |\n")
    assert "| `score` | number | log-odds |\n" in found
    assert "gone" not in found
    assert found.endswith("<!-- end -->\nAfter\n")
    assert readme.generated(found) == found


@pytest.mark.parametrize("what", ["help analyse", "columns rejections", "exit", "magic"])
def test_a_part_that_cannot_be_generated_is_an_error(what):
    with pytest.raises(KeyError):
        readme.generated(f"<!-- generated: {what} -->\n<!-- end -->\n")
