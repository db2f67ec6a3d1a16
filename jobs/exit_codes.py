"""The exit code that an end leads to."""

from __future__ import annotations

import click

from pipeline.errors import JobError, Stopped


def exit_code_of(error: BaseException | None) -> int:
    """0 for none; of named errors and click's the one they carry; of an exit the one it was given; 1 of everything else."""
    if error is None:
        return 0
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    return error.exit_code if isinstance(error, JobError | Stopped | click.ClickException) else 1
