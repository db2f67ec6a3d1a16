"""The one error boundary: every named error becomes one line on stderr and its exit code."""

import gc
import sys

import click

from jobs.cli import cli

MOST_SHOWN = 2_000
"""Characters of an error; names in it may come from a file."""
COLLECTED_AFTER = (50_000, 20, 100)
"""Python's collector of cycles looks through the young objects after so many new ones, through all after so many such looks. A run holds
many objects and hardly a cycle: by default a sixth of the pipeline's own time went into looking, so a thirtieth."""


def main() -> None:
    """Entry point of `python -m jobs` and of the console script `review-digest`."""
    from jobs.exit_codes import exit_code_of
    from jobs.log import Log
    from pipeline.errors import Stopped

    gc.set_threshold(*COLLECTED_AFTER)
    log = Log()
    name = "review-digest" if sys.argv[0].endswith("review-digest") else "python -m jobs"
    try:
        sys.exit(cli(prog_name=name, obj=log, standalone_mode=False))
    except (Exception, Stopped) as error:
        if log.as_json:
            log.failed(error)
        else:
            _say(error)
        sys.exit(exit_code_of(error))


def _say(error: BaseException) -> None:
    """For people. Raises what nobody expected, to be shown with its traceback."""
    from pipeline.errors import JobError, Stopped
    from pipeline.printable import printable

    if isinstance(error, click.ClickException):
        error.show()
    elif isinstance(error, JobError):
        print(f"error: {printable(error, MOST_SHOWN)}", file=sys.stderr)
    elif isinstance(error, Stopped | click.Abort):
        print(str(error) or "Aborted!", file=sys.stderr)
    else:
        raise error


if __name__ == "__main__":
    main()
