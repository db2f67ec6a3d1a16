"""The one error boundary: every named error becomes one line on stderr and its exit code."""

import gc
import sys

from jobs.cli import cli

MOST_SHOWN = 2_000
"""Characters of an error; names in it may come from a file."""
COLLECTED_AFTER = (50_000, 20, 100)
"""Python's collector of cycles looks through the young objects after so many new ones, through all after so many such looks. A run holds
many objects and hardly a cycle: by default a sixth of the pipeline's own time went into looking, so a thirtieth."""


def main() -> None:
    """Entry point of `python -m jobs` and of the console script `review-digest`."""
    from pipeline.errors import JobError, Stopped
    from pipeline.printable import printable

    gc.set_threshold(*COLLECTED_AFTER)
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
