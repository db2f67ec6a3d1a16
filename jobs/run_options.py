"""Options of the commands that run from input to commit, and what they print at the end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from jobs.cost_lines import cost_lines
from jobs.options import parse_allowance, parse_day, parse_deadline, parse_place
from pipeline.analysis import Committed
from pipeline.api import store_beside
from pipeline.order import ORDERS
from pipeline.places import inside
from pipeline.reading import MOST_INPUT_BYTES
from pipeline.uris import is_uri

F = TypeVar("F", bound=Callable[..., Any])
PARTLY_FAILED = 3


def run_options(what: str, output: str) -> Callable[[F], F]:
    """Adds the options about output, store, order, limits and exit codes. `what`: the rows of the result; `output`: the default folder."""
    options = [
        click.option(
            "--output",
            callback=parse_place,
            default=output,
            metavar="FOLDER|URI",
            help="Folder for the results, or a place in an object store: s3://bucket/reviews.",
        ),
        click.option("--date", callback=parse_day, metavar="DAY", help="Write to OUTPUT/dt=DAY. Names the partition only."),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help=f"Only the first N {what} by id."),
        click.option(
            "--max-input-bytes",
            type=click.IntRange(min=1),
            default=MOST_INPUT_BYTES,
            metavar="N",
            help="Refuse a dump that holds more in the columns read, uncompressed, over all files.",
        ),
        click.option(
            "--update", is_flag=True, help=f"Keep the committed rows of {what} that are not selected; selected ones are replaced."
        ),
        click.option(
            "--store",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="FOLDER",
            help="Answers already paid for, a local folder.  [default: OUTPUT.store, beside the output]",
        ),
        click.option("--no-store", is_flag=True, help="Ask everything anew and keep no answers; a run that is stopped loses its work."),
        click.option("--force", is_flag=True, help="Ask everything anew, although the store knows it; the new answers replace the old."),
        click.option(
            "--stop-at",
            callback=parse_deadline,
            metavar="TIME",
            help="Feed nothing after 05:45 or 2026-11-21T05:45+09:00; commit what is done.",
        ),
        click.option(
            "--max-prompt-tokens", type=click.IntRange(min=1), metavar="N", help="Feed no more prompt tokens; commit what is done."
        ),
        click.option(
            "--order",
            type=click.Choice(list(ORDERS)),
            help="What goes next. " + "; ".join(f"{o.name}: {o.help}" for o in ORDERS.values()) + ".  [default: restaurant]",
        ),
        click.option(
            "--use-priority-queue",
            type=bool,
            default=True,
            envvar="VLLM_USE_PRIORITY_QUEUE",
            help="false: first in, first out. --order wins over it.",
        ),
        click.option(
            "--priority-by-prefill-cost",
            type=bool,
            default=True,
            envvar="VLLM_PRIORITY_BY_PREFILL_COST",
            help="false: by task type. --order wins over it.",
        ),
        click.option(
            "--max-failed",
            default="0",
            callback=parse_allowance,
            metavar="N|P%",
            help=f"{what.capitalize()} that may fail or stay pending without exit code 3.",
        ),
        click.option(
            "--skip-exit-code", type=click.IntRange(0, 255), default=0, metavar="CODE", help="Exit code where nothing had to be done."
        ),
        click.option("--quiet", is_flag=True, help="Say nothing while all is well: only warnings and errors, a line each, on stderr."),
    ]

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def partition(output: Path | str, date: str | None) -> Path | str:
    """The day's part of an output."""
    return inside(output, f"dt={date}") if date else output


def store_folder(output: Path | str, store: Path | None, no_store: bool, force: bool) -> Path | None:
    """Where answers are kept; None for nowhere."""
    if no_store and (store or force):
        raise click.UsageError("--no-store asks everything anew already; it goes with neither --store nor --force")
    if is_uri(output) and not store and not no_store:
        raise click.UsageError(f"answers already paid for cannot be kept in {output}; name a local folder with --store, or --no-store")
    return None if no_store else store or store_beside(output)


def table(lines: dict[str, str]) -> str:
    """A line for each, aligned."""
    width = max(12, *map(len, lines))
    return "\n".join(f"{name:<{width}} {value}" for name, value in lines.items())


def statuses(done: Committed, what: str) -> str:
    """How many rows ended how."""
    counts = done.manifest["counts"]
    found = ", ".join(f"{number:,} {status}" for status, number in sorted(counts[what].items())) or "none"
    return found + (f" ({counts['carried_over']:,} unchanged)" if counts["carried_over"] else "")


def costs(done: Committed) -> dict[str, str]:
    """What every run has to say of its costs."""
    counts, tokens = done.manifest["counts"], done.manifest["tokens"]
    return {
        "answers": f"{counts['requests'] - counts['answers_reused']:,} asked, {counts['answers_reused']:,} known already",
        "tokens": f"{tokens['prompt']:,} prompt ({tokens['cached']:,} of them from cache), {tokens['output']:,} output",
        "seconds": ", ".join(f"{name} {value:.1f}" for name, value in done.seconds.items()),
        **cost_lines(done.manifest["costs"]),
    }


def results_line(done: Committed) -> dict[str, str]:
    """The last line of the table."""
    return {"results": str(done.folder)}


def exit_code(done: Committed, allowed: tuple[float, bool]) -> int:
    """0, or 3 where more rows failed or stayed pending than `allowed` (a number, or a share in percent)."""
    missing, total = done.manifest["counts"]["missing"], done.manifest["counts"]["selected"]
    limit, percent = allowed
    return PARTLY_FAILED if missing > (limit / 100 * total if percent else limit) else 0


def missing_line(done: Committed, allowed: tuple[float, bool], what: str) -> str | None:
    """Why the exit code is 3. None where it is not."""
    if not exit_code(done, allowed):
        return None
    missing, total = done.manifest["counts"]["missing"], done.manifest["counts"]["selected"]
    limit = f"{allowed[0]:g}{'%' * allowed[1]}"
    return f"{missing:,} of {total:,} {what} failed or stayed pending (--max-failed {limit}), see status and error in {done.folder}"
