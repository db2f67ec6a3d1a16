"""The commands as a person types them: exit codes, one clear line, nothing published by a run that failed."""

import contextlib
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from jobs.__main__ import main

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def jobs(*arguments, **environment):
    """What `python -m jobs` does and says, in this process: starting one costs more than what is tested."""
    out, err = io.StringIO(), io.StringIO()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.chdir(ROOT))
        stack.enter_context(mock.patch.dict(os.environ, environment))
        stack.enter_context(mock.patch.object(sys, "argv", ["python -m jobs", *map(str, arguments)]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        ended = stack.enter_context(pytest.raises(SystemExit))
        try:
            main()
            sys.exit(0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return Done(ended.value.code or 0, out.getvalue(), err.getvalue())


@pytest.fixture
def dump(tmp_path, write_dump):
    return write_dump(tmp_path / "dump.parquet", [{"restaurant_id": "a", "text": "Good soup."}])


def analyze(dump, tmp_path, *arguments, **environment):
    return jobs("analyze", dump, "--output", tmp_path / "out", *arguments, **environment)


def assert_clean_error(done, code, *words):
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    for word in words:
        assert word in done.stderr


def test_help_imports_neither_torch_nor_vllm_nor_polars():
    code = "import sys, jobs.cli; jobs.cli.cli(['--help'], standalone_mode=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not {"torch", "vllm", "transformers", "polars"} & set(done.stdout.split())


def test_importing_the_library_needs_no_model_library():
    modules = sorted(".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in ROOT.glob("pipeline/**/*.py"))
    heavy = {"torch", "vllm", "transformers", "sklearn", "click"}
    code = f"""
import importlib, sys
for module in {modules}:
    importlib.import_module(module)
    assert not {heavy} & set(sys.modules), module
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert len(modules) > 50


@pytest.mark.parametrize(
    "command", ["analyze", "merge", "plan", "attack", "compare", "evaluate", "expand-queries", "report", "store", "benchmark"]
)
def test_every_command_explains_itself_with_an_example(command):
    done = jobs(command, "--help")
    assert done.returncode == 0
    assert f"python -m jobs {command} " in done.stdout


def test_no_such_file(tmp_path):
    assert_clean_error(analyze("nowhere.parquet", tmp_path), 66, "nowhere.parquet", "check the path")


def test_not_parquet(tmp_path):
    (tmp_path / "text.parquet").write_text("no parquet at all")
    assert_clean_error(analyze(tmp_path / "text.parquet", tmp_path), 65, "text.parquet", "not Parquet")


def test_truncated_parquet(tmp_path, dump):
    Path(dump).write_bytes(Path(dump).read_bytes()[:-20])
    assert_clean_error(analyze(dump, tmp_path), 65, "dump.parquet", "damaged")


def test_missing_column(tmp_path, write_dump):
    other = write_dump(tmp_path / "other.parquet", [{"restaurant_id": "a", "Review": "Good"}])
    assert_clean_error(analyze(other, tmp_path), 65, "'text'", "restaurant_id, Review", "--column text=YOUR_COLUMN")


def test_wrong_type(tmp_path, write_dump):
    other = write_dump(tmp_path / "other.parquet", [{"restaurant_id": "a", "text": 5}])
    assert_clean_error(analyze(other, tmp_path), 65, "'text' is Int64", "expected a string")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--tasks", "sentiment,magic"], "magic"),
        (["--order", "magic"], "magic"),
        (["--column", "tex=Review"], "tex=Review"),
        (["--since", "yesterday"], "yesterday"),
        (["--date", "2026-13-01"], "2026-13-01"),
        (["--max-failed", "some"], "some"),
        (["--limit", "0"], "--limit"),
        (["--engine-option", "trust_remote_code=true"], "trust_remote_code"),
        (["--no-such-option"], "--no-such-option"),
        (["--output", "s3://bucket/results"], "local folder"),
        (["--stop-at", "teatime"], "teatime"),
        (["--stop-at", "2026-11-21T05:45"], "names no time zone"),
        (["--slo", "ttft"], "names no time"),
        (["--slo", "ttft=2"], "names no time"),
        (["--slo", "restaurant=0s"], "names no time"),
        (["--slo", "latency=2s"], "restaurant=10m"),
        (["--slo", "ttft.magic=2s"], "ttft.magic=2s"),
        (["--slo", "restaurant.summary=2s"], "is no service level"),
        (["--slo", "ttft=2s", "--slo", "ttft=3s"], "ttft is given twice"),
        (["--no-store", "--force"], "--no-store"),
        (["--deadline", "a=2026-11-21T06:00"], "names no time zone"),
        (["--deadline", "a=soon"], "no ISO time"),
        (["--deadline", "a=+soon"], "no duration"),
        (["--deadline", "a"], "RESTAURANT=TIME"),
        (["--max-wait", "long"], "no duration"),
        (["--max-wait", "²d"], "no duration"),
        (["--deadline", "a=+99999999d"], "no duration"),
        (["--max-wait", "99999999999999d"], "no duration"),
        (["--max-wait", f"{'9' * 5000}d"], "no duration"),
        (["--max-overtake", "5", "--max-wait", "5m"], "in two units"),
        (["--engine-option", "block_size=some"], "block_size"),
        (["--no-store", "--store", "elsewhere"], "--no-store"),
        (["--engine-option", "max_model_len=auto"], "max_model_len"),
        (["--shard", "3"], "no shard like 3/16"),
        (["--shard", "0/3"], "no shard like 3/16"),
        (["--shard", "4/3"], "no shard like 3/16"),
        (["--shard", "1/2", "--recalibrate"], "--recalibrate"),
    ],
)
def test_usage_errors(tmp_path, dump, arguments, word):
    assert_clean_error(analyze(dump, tmp_path, *arguments), 2, word)


@pytest.mark.parametrize(
    ("switches", "arguments", "order"),
    [
        ({}, [], "restaurant"),
        ({"VLLM_USE_PRIORITY_QUEUE": "false"}, [], "fifo"),
        ({"VLLM_PRIORITY_BY_PREFILL_COST": "false"}, [], "task"),
        ({"VLLM_USE_PRIORITY_QUEUE": "false", "VLLM_PRIORITY_BY_PREFILL_COST": "false"}, [], "fifo"),
        ({"VLLM_USE_PRIORITY_QUEUE": "false"}, ["--order", "longest"], "longest"),
    ],
)
def test_the_switches_that_deployments_know_choose_the_order(dump, tmp_path, switches, arguments, order):
    done = jobs("plan", dump, "--output", tmp_path / "out", "--json", *arguments, **switches)
    assert json.loads(done.stdout)["order"] == order, done.stderr


def test_a_switch_that_is_no_boolean_is_a_usage_error(tmp_path, dump):
    assert_clean_error(analyze(dump, tmp_path, VLLM_USE_PRIORITY_QUEUE="perhaps"), 2, "perhaps")


def test_an_output_that_is_a_file(tmp_path, dump):
    (tmp_path / "out").write_text("in the way")
    assert_clean_error(analyze(dump, tmp_path), 78, "choose another --output")


def test_a_model_folder_that_is_no_model(tmp_path, dump):
    (tmp_path / "model").mkdir()
    assert_clean_error(analyze(dump, tmp_path, "--model", tmp_path / "model"), 78, "is no model folder", "config.json")


def test_a_model_name_that_cannot_be_had(tmp_path, dump):
    assert_clean_error(analyze(dump, tmp_path, "--model", "nobody/no-such-model", HF_HUB_OFFLINE="1"), 78, "nobody/no-such-model")


def test_an_empty_dump_is_committed_and_its_manifest_is_the_last_line(tmp_path, write_dump):
    schema = {"restaurant_id": pl.String, "text": pl.String}
    done = analyze(write_dump(tmp_path / "empty.parquet", [], schema), tmp_path)
    assert done.returncode == 0, done.stderr
    manifest = Path(done.stdout.splitlines()[-1])
    assert manifest.name == "manifest.json"
    assert pl.read_parquet(manifest.parent / "restaurants.parquet").is_empty()


def test_rows_that_are_all_rejected_are_committed_as_rejects(tmp_path, write_dump):
    done = analyze(write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}] * 3), tmp_path)
    assert done.returncode == 0, done.stderr
    assert pl.read_parquet(tmp_path / "out/current/rejects.parquet").height == 3


def test_a_run_with_nothing_to_do_says_so_and_exits_as_it_was_told(tmp_path, write_dump):
    blank = write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}])
    first = analyze(blank, tmp_path, "--skip-exit-code", "99")
    again = analyze(blank, tmp_path, "--skip-exit-code", "99")
    assert (first.returncode, again.returncode) == (0, 99)
    assert "nothing to do: none of 1 restaurants" in again.stderr
    assert again.stdout == first.stdout.splitlines()[-1] + "\n"


def test_the_store_is_beside_the_output_and_shared_by_its_days(tmp_path, write_dump):
    analyze(write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}]), tmp_path, "--date", "2026-11-20")
    assert (tmp_path / "out.store" / "answers").is_dir()


def test_without_a_store_nothing_is_left_beside_the_output(tmp_path, write_dump):
    analyze(write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}]), tmp_path, "--no-store")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["blank.parquet", "out"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".holder.json", ".lock", "current", "current.json", "runs"]


def test_a_store_that_is_a_file(tmp_path, dump):
    (tmp_path / "file").write_text("in the way")
    assert_clean_error(analyze(dump, tmp_path, "--store", tmp_path / "file"), 2, "is a file")


def test_the_store_command_tells_what_is_there(tmp_path, write_dump):
    analyze(write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}]), tmp_path)
    found = json.loads(jobs("store", "size", tmp_path / "out.store").stdout)
    assert (found["answers"], found["bytes"], found["parts"]) == (0, 0, 0)


def test_a_folder_that_is_no_store(tmp_path):
    for command in (["size"], ["prune", "--older-than", "90d"], ["forget", "--restaurant", "a"]):
        assert_clean_error(jobs("store", command[0], tmp_path, *command[1:]), 66, "is no store")


@pytest.mark.parametrize("arguments", [[], ["--older-than", "soon"], ["--max-size", "some"]])
def test_pruning_wants_to_know_what(tmp_path, arguments):
    assert_clean_error(jobs("store", "prune", tmp_path, *arguments), 2)


def test_a_failed_run_changes_nothing_in_an_existing_output(tmp_path, dump, write_dump):
    analyze(write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}]), tmp_path)
    before = sorted(p.relative_to(tmp_path) for p in (tmp_path / "out").rglob("*"))
    assert analyze("nowhere.parquet", tmp_path).returncode == 66
    assert sorted(p.relative_to(tmp_path) for p in (tmp_path / "out").rglob("*")) == before


def test_a_date_names_the_partition(tmp_path, write_dump):
    blank = write_dump(tmp_path / "blank.parquet", [{"restaurant_id": "a", "text": " "}])
    assert analyze(blank, tmp_path, "--date", "2026-11-20").returncode == 0
    assert (tmp_path / "out/dt=2026-11-20/current.json").exists()


def test_options_come_from_the_environment_and_from_a_file(tmp_path, dump):
    assert_clean_error(analyze(dump, tmp_path, REVIEW_DIGEST_ANALYZE_MODEL=str(tmp_path)), 78, str(tmp_path))
    (tmp_path / "options.toml").write_text(f'[analyze]\nmodel = "{tmp_path}"\n')
    done = jobs("--config", tmp_path / "options.toml", "analyze", dump, "--output", tmp_path / "out")
    assert_clean_error(done, 78, "is no model folder")


def test_a_file_of_options_with_an_unknown_name_is_a_usage_error(tmp_path, dump):
    (tmp_path / "options.toml").write_text("[analyze]\nlimt = 5\n")
    assert_clean_error(jobs("--config", tmp_path / "options.toml", "analyze", dump), 2, "limt")


def test_a_restaurant_that_is_not_there_is_said(tmp_path, dump):
    assert_clean_error(analyze(dump, tmp_path, "--restaurant", "typo"), 65, "'typo'", "--restaurant")


def test_sigterm_ends_the_run_with_143_and_publishes_nothing(tmp_path, dump):
    command = [sys.executable, "-m", "jobs", "analyze", dump, "--output", str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if "starting vLLM" in line:
                break
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        said = process.stderr.read()
    assert process.returncode == 143, said
    assert "the previous results stand" in said
    assert not (tmp_path / "out/current.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_a_plan_with_the_signals_exit_code_and_no_temporary_folder_stays(tmp_path, dump, number):
    code = (
        "import time; from pipeline import planning; from jobs.__main__ import main; "
        "planning.read = lambda *_: (print('reading', flush=True), time.sleep(60)); main()"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-c", code, "plan", dump, "--output", str(tmp_path / "out")]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "reading\n"
        there = list(temporary.iterdir())
        process.send_signal(number)
        said = process.stderr.read()
    assert process.returncode == 128 + number, said
    assert "stopped by signal" in said
    assert (len(there) > 0, list(temporary.iterdir())) == (True, [])


def test_the_readme_names_every_option_and_exit_code():
    readme = (ROOT / "README.md").read_text()
    for option in set(re.findall(r"^\s+(--[a-z-]+)", jobs("analyze", "--help").stdout, re.MULTILINE)) - {"--help"}:
        assert f"`{option}" in readme, option
    for code in (0, 1, 2, 3, 65, 66, 75, 78, 99, 130, 143):
        assert re.search(rf"^\|[^|]*\b{code}\b[^|]*\|", readme, re.MULTILINE), code


def test_shards_and_their_merge_end_in_one_commit_and_wait_for_one_another(tmp_path, write_dump):
    dump = write_dump(tmp_path / "empty.parquet", [], {"restaurant_id": pl.String, "text": pl.String})
    merge = ("merge", dump, "--output", tmp_path / "out", "--shards", "2")
    assert_clean_error(jobs(*merge), 75, "of 2 shards 2 have not committed (1, 2)")
    first = analyze(dump, tmp_path, "--shard", "1/2")
    assert Path(first.stdout.splitlines()[-1]).is_relative_to(tmp_path / "out/shards/2/1")
    assert "shard        1 of 2, 0 restaurants" in first.stdout
    assert_clean_error(jobs(*merge), 75, "(2)")
    assert analyze(dump, tmp_path, REVIEW_DIGEST_ANALYZE_SHARD="2/2").returncode == 0
    merged = jobs(*merge)
    assert merged.returncode == 0, merged.stderr
    assert "shards       2 merged" in merged.stdout
    manifest = Path(merged.stdout.splitlines()[-1])
    assert manifest.parent == (tmp_path / "out/current").resolve()
    again = jobs(*merge, "--skip-exit-code", "99")
    assert (again.returncode, again.stdout) == (99, f"{manifest}\n")


def test_a_merge_takes_the_options_of_analyze_from_its_table_and_its_environment(tmp_path, dump):
    (tmp_path / "options.toml").write_text(f'[analyze]\nmodel = "{tmp_path}"\nshard = "1/2"\n')
    merge = ("merge", dump, "--output", tmp_path / "out", "--shards", "2")
    assert_clean_error(jobs("--config", tmp_path / "options.toml", *merge), 78, "is no model folder")
    environment = {"REVIEW_DIGEST_ANALYZE_MODEL": str(tmp_path), "REVIEW_DIGEST_ANALYZE_SHARD": "1/2"}
    assert_clean_error(jobs(*merge, **environment), 78, "is no model folder")
