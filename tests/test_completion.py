"""What a shell completes after the command's name, how soon, and that its variables are nobody else's."""

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from jobs.cli import COMMANDS, cli

ROOT = Path(__file__).parent.parent
COMPLETE = "_REVIEW_DIGEST_COMPLETE"
AS_INSTALLED = "import sys; sys.argv[0] = 'review-digest'; from jobs.__main__ import main; main()"


def command(code, **environment):
    found = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, env=found, check=True)
    return done.stdout.splitlines()


def completed(*words):
    """What is offered for the last word, as (kind, text)."""
    line = " ".join(["review-digest", *words])
    found = command(AS_INSTALLED, **{COMPLETE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words))})
    return [tuple(one.split(",", 1)) for one in found]


def each_param(group=cli, names=()):
    for name in group.list_commands(click.Context(group)):
        one = group.get_command(click.Context(group), name)
        yield from ((*names, name, param) for param in one.params)
        if isinstance(one, click.Group):
            yield from each_param(one, (*names, name))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_its_script(shell):
    script = "\n".join(command(AS_INSTALLED, **{COMPLETE: f"{shell}_source"}))
    assert f"{COMPLETE}={shell}_complete" in script
    assert "review-digest" in script


def test_commands_and_options_are_completed():
    assert completed("an") == [("plain", "analyze")]
    assert [text for _, text in completed("")] == list(COMMANDS)
    assert completed("analyze", "--ord") == [("plain", "--order")]
    assert ("plain", "fifo") in completed("analyze", "--order", "")
    assert completed("store", "pr") == [("plain", "prune")]


def test_files_and_folders_are_left_to_the_shell():
    assert completed("analyze", "rev") == [("file", "rev")]
    assert completed("plan", "rev") == [("file", "rev")]
    assert completed("analyze", "--output", "re") == [("dir", "re")]
    assert completed("benchmark", "ways", "rev") == [("file", "rev")]


@pytest.mark.parametrize(("line", "unneeded"), [("review-digest an", {"polars", "numpy"}), ("review-digest analyze --o", set())])
def test_completing_waits_for_no_model_library(line, unneeded):
    code = """
import sys
sys.argv[0] = 'review-digest'
from jobs.__main__ import main
try:
    main()
finally:
    print(*sys.modules)
"""
    loaded = command(code, **{COMPLETE: "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)})[-1].split()
    assert not {"torch", "vllm", "transformers", "sklearn", *unneeded} & set(loaded)


def test_no_two_options_share_a_variable_but_those_of_plan_merge_and_analyze():
    found = {}
    for *names, param in each_param():
        for variable in (
            [param.envvar] if isinstance(param.envvar, str) else param.envvar or ["_".join(["REVIEW_DIGEST", *names, param.name])]
        ):
            found.setdefault(variable.upper().replace("-", "_"), set()).add((names[0], param.name))
    assert COMPLETE not in found
    for variable, options in found.items():
        deployed = variable in ("VLLM_USE_PRIORITY_QUEUE", "VLLM_PRIORITY_BY_PREFILL_COST")
        assert len({name for _, name in options}) == 1, variable
        assert deployed or {command for command, _ in options} <= {"analyze", "merge", "plan"} or len(options) == 1, variable
