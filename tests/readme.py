"""Those parts of the README that say what the code says: help texts, columns, exit codes. `make readme` writes them anew.

A part stands between `<!-- generated: help store prune -->` and `<!-- end -->`. There are `help COMMAND`, `columns TABLE`, `file PATH` and
`exit codes`. Of a table of columns names and types are generated; what a column means is written in the README, beside it, and stays.
"""

import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click
import polars as pl

from jobs.cli import cli
from jobs.run_options import PARTLY_FAILED
from pipeline.errors import JobError, Stopped
from pipeline.expanded import EXPANDED
from pipeline.schemas import REQUESTS, RESTAURANTS, REVIEWS

PART = re.compile(r"(<!-- generated: ([^>\n]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
TABLES = {"restaurants": RESTAURANTS, "reviews": REVIEWS, "requests": REQUESTS, "queries": EXPANDED}
WIDTH = 110
SKIPPED = 99
"""No code of ours, but the one that `--skip-exit-code` is made for."""


def generated(text: str) -> str:
    """The README with its generated parts as the code has them. Raises KeyError for a part that cannot be generated."""
    return PART.sub(lambda part: f"{part[1]}{_content(part[2].split(), part[3])}{part[4]}", text)


def parts(text: str) -> Mapping[str, str]:
    """What is generated, and what stands there."""
    return {part[2]: part[3] for part in PART.finditer(text)}


def _content(what: list[str], before: str) -> str:
    kind, *names = what
    if kind == "help":
        return f"```\n{help_of(names)}\n```\n"
    if kind == "columns":
        return _columns(TABLES[names[0]], _meanings(before))
    if kind == "file":
        return f"```python\n{Path(names[0]).read_text(encoding='utf-8')}```\n"
    if what == ["exit", "codes"]:
        return _exit_codes()
    raise KeyError(f"nothing is generated under the name {' '.join(what)}")


def help_of(names: list[str]) -> str:
    """What `python -m jobs NAMES... --help` prints on a wide terminal."""
    context = click.Context(cli, info_name="python -m jobs", terminal_width=WIDTH, **cli.context_settings)
    command: click.Command = cli
    for name in names:
        assert isinstance(command, click.Group)
        found = command.get_command(context, name)
        if found is None:
            raise KeyError(f"there is no command {' '.join(names)}")
        command, context = found, click.Context(found, info_name=name, parent=context)
    return command.get_help(context)


def _columns(schema: Mapping[str, pl.DataType], meanings: Mapping[str, str]) -> str:
    rows = [f"| `{name}` | {type_name(dtype)} | {meanings.get(name, '')} |" for name, dtype in schema.items()]
    return "\n".join(["| column | type | meaning |", "| --- | --- | --- |", *rows]) + "\n"


def _meanings(table: str) -> dict[str, str]:
    """What is written beside each column."""
    return dict(re.findall(r"^\| `(\w+)` \|[^|]*\| (.*?) ?\|$", table, re.MULTILINE))


def type_name(dtype: pl.DataType) -> str:
    """A Polars type as a reader of Parquet in any tool would call it."""
    if isinstance(dtype, pl.List):
        return f"list of {type_name(dtype.inner)}"
    if isinstance(dtype, pl.Struct):
        return f"struct ({', '.join(field.name for field in dtype.fields)})"
    if isinstance(dtype, pl.Datetime):
        return f"timestamp, {dtype.time_zone}"
    return {"String": "string", "Int64": "integer", "Float64": "number", "Boolean": "boolean"}[str(dtype)]


def _exit_codes() -> str:
    rows = {
        "0": "Committed, or nothing to do",
        str(JobError.exit_code): "Unexpected error",
        str(click.UsageError.exit_code): "Usage",
        str(PARTLY_FAILED): "Committed, but more restaurants failed or stayed pending than `--max-failed` allows",
        **{str(error.exit_code): _first_sentence(error) for error in sorted(JobError.__subclasses__(), key=lambda one: one.exit_code)},
        str(SKIPPED): f"Nothing to do, only with `--skip-exit-code {SKIPPED}` (Airflow's skipped)",
        " / ".join(str(Stopped(number).exit_code) for number in (signal.SIGINT, signal.SIGTERM)): "Stopped by SIGINT / SIGTERM, finished "
        "answers kept; nothing was published. A second signal ends the process at once",
    }
    return "\n".join(["| exit code | meaning |", "| --- | --- |", *(f"| {code} | {meaning} |" for code, meaning in rows.items())]) + "\n"


def _first_sentence(error: type[JobError]) -> str:
    return " ".join((error.__doc__ or "").split()).partition(". ")[0].removesuffix(".")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(generated(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
