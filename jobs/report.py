"""`report`: a committed run as a page, or two of them beside each other."""

from __future__ import annotations

from pathlib import Path

import click

from jobs.options import parse_place
from jobs.stop import StopSignals
from pipeline.analysis import Committed
from pipeline.job import Progress
from pipeline.places import Folder
from pipeline.printable import printable
from pipeline.report.one_run import write_report
from pipeline.report.opened import open_run
from pipeline.report.two_runs import write_changes

MOST_SAID = 500
"""Characters of an error in the warning that stands in place of a report."""


@click.command()
@click.argument("output", callback=parse_place, metavar="OUTPUT")
@click.argument("new", callback=parse_place, required=False, metavar="[NEW]")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the page there.  [default: report.html in the run's folder; of two runs changes.html in the folder of NEW]",
)
def report(output: Path | str, new: Path | str | None, html: Path | None) -> None:
    """Write a page about the committed run in OUTPUT: one HTML file that needs nothing but a browser.

    With NEW, a page about what is different there: which restaurants have changed, because of new reviews or although their reviews are the
    same, and which prompt, model or setting is another one. Both may be an output folder, whose committed run is taken, or one run's own
    folder below OUTPUT/runs. Needs the extra 'report'.

    \b
    Examples:
      python -m jobs report results
      python -m jobs report results/dt=2026-11-20 results/dt=2026-11-21 --html changes.html
    """
    StopSignals()  # a stop leaves no temporary folder
    written = write_changes(open_run(output), open_run(new), html) if new else write_report(open_run(output), html)
    click.echo(str(written))


def at_the_end(done: Committed, progress: Progress) -> Folder | None:
    """The page about a run that was just committed; one line of warning in its place where that fails, whatever it is: the results are
    there."""
    try:
        progress.stage("writing the report")
        return write_report(done)
    except Exception as error:
        progress.warn(f"no report was written: {printable(str(error) or type(error).__name__, MOST_SAID)}")
        return None
