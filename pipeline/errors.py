"""Named errors. Each carries the exit code it leads to; `jobs` turns one into a single line on stderr.

The codes are those of BSD's sysexits.h where one fits (65 data, 66 no input, 75 try again, 78 configuration), so schedulers can tell
"fix the data" from "try again". A message says where, what was found, and what to do.
"""

import errno

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JobError(Exception):
    """Base of all errors that a person can act on."""

    exit_code = 1


class BadData(JobError):
    """Bad data: the dump is there but cannot be used: not Parquet, damaged, a column missing or of the wrong type."""

    exit_code = 65


class NoInput(JobError):
    """No such input."""

    exit_code = 66


class TryAgain(JobError):
    """Try again: another run is writing there, the disk is full, the input changed while it was read, the engine died. The same command may
    succeed later."""

    exit_code = 75


class EngineDied(TryAgain):
    """The engine failed as a whole, not for one request."""


class BadConfiguration(JobError):
    """Bad configuration: an option, a model or an output place that cannot work."""

    exit_code = 78


def cannot_write(what: str, error: OSError, instead: str) -> JobError:
    """What a refusal of the file system means: a full disk is to be tried again, every other one configured otherwise. `what` could not be
    written where, `instead`: what to do."""
    if error.errno in _NO_ROOM:
        return TryAgain(f"{what} ({error.strerror}); make room and run again")
    return BadConfiguration(f"{what} ({error.strerror or error}); {instead}")


class Stopped(BaseException):
    """A signal asked the run to end. Like KeyboardInterrupt it passes by every handler of errors on its way out.

    `exit_code` is 128 + the signal's number, as a shell reports it.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(
            f"stopped by signal {signum}; finished answers are kept, the previous results stand; run the same command to go on"
        )
        self.exit_code = 128 + signum


class TaskFailed(Exception):
    """One task of one restaurant has no result. Never leaves the loop: it becomes the reason in that restaurant's row."""


class OutOfReach(TaskFailed):
    """A task cannot be done for this restaurant as long as its reviews and the model stay what they are: no use in trying again."""
