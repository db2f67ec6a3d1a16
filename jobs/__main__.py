"""The one error boundary: every named error becomes one line on stderr and its exit code."""

import sys

from jobs.cli import cli

MOST_SHOWN = 2_000
"""Characters of an error; names in it may come from a file."""


def main() -> None:
    """Entry point of `python -m jobs` and of the console script `review-digest`."""
    from pipeline.errors import JobError, Stopped
    from pipeline.printable import printable

    try:
        cli(prog_name="review-digest" if sys.argv[0].endswith("review-digest") else "python -m jobs")
    except JobError as error:
        print(f"error: {printable(error, MOST_SHOWN)}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
