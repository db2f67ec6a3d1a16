"""The one error boundary: every named error becomes one line on stderr and its exit code."""

import sys

from jobs.cli import cli


def main() -> None:
    """Entry point of `python -m jobs` and of the console script `review-digest`."""
    from pipeline.errors import JobError, Stopped

    try:
        cli(prog_name="review-digest" if sys.argv[0].endswith("review-digest") else "python -m jobs")
    except JobError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Stopped as stop:
        print(stop, file=sys.stderr)
        sys.exit(stop.exit_code)


if __name__ == "__main__":
    main()
