"""What goes wrong with an object store, as this program's own errors. What a store says itself is not passed on: it may quote a request
with its key and its signature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import BadConfiguration, BadData, JobError, NoInput, TryAgain
from pipeline.printable import printable

CREDENTIALS = "check the credentials in the environment or the profile, and what they allow"
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_REFUSED = re.compile(
    r"status code: (401|403)|ExpiredToken|InvalidToken|InvalidAccessKeyId|SignatureDoesNotMatch|AuthorizationHeaderMalformed|"
    r"TokenRefreshRequired|InvalidAuthenticationInfo|lacked the necessary privileges|lacked valid authentication"
)
_ELSEWHERE = re.compile(
    r"status code: 30\d|PermanentRedirect|received redirect|must be specified|Unable to (parse|recognise) URL|builder error"
)
_OUT_OF_REACH = re.compile(
    r"status code: (408|429|5\d\d)|timed? out|error sending request|connect|dns error|error decoding response|Generic \w+ error"
)


@contextmanager
def told(where: str, what: str) -> Iterator[None]:
    """Around requests: raises BadConfiguration where asking again is no use, else TryAgain. That a condition did not hold, and that an
    object is not there, passes."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError, JobError):
        raise
    except FileNotFoundError as error:
        if re.search(r"NoSuchBucket|ContainerNotFound|bucket does not exist", str(error)):
            raise BadConfiguration(f"{where}: {what} (no such bucket); make it, or check the name") from None
        raise
    except Exception as error:
        if not isinstance(error, exceptions.BaseError | OSError | ValueError) and not _of_credentials(error):
            raise
        raise _meant(error, where, what) from None


def unreadable(uri: str, error: BaseException) -> JobError:
    """What a reader's error about an object means. A file that came and is none is bad data."""
    if missing(error):
        return NoInput(f"{uri}: no such object there; check the URI")
    said = str(error)
    if "object-store error" in said or _STATUS.search(said) or _OUT_OF_REACH.search(said) or _of_credentials(error):
        return _meant(error, uri, "cannot be read")
    return BadData(f"{uri}: cannot be read ({printable(said.partition(chr(10))[0])}); write it again or leave it out")


def missing(error: BaseException) -> bool:
    """Whether a store was asked and has no such object."""
    return isinstance(error, FileNotFoundError) or bool(re.search(r"status code: 404\b|expanded paths were empty", str(error)))


def reason(error: BaseException) -> str:
    """What went wrong; of a store's answer the status and the code alone."""
    said = str(error)
    found = [match[1].strip() for match in (_STATUS.search(said), _CODE.search(said)) if match]
    if found:
        return ", ".join(found)
    first = re.sub(r", after \d+ retries.*", "", said.partition("\n")[0])
    if re.search(r"timed? out", said, re.IGNORECASE):
        return "no answer in time"
    return "no connection" if re.search(r"connect|sending|dns|body", first, re.IGNORECASE) else type(error).__name__


def _meant(error: BaseException, where: str, what: str) -> JobError:
    said = str(error)
    if (
        _REFUSED.search(said)
        or _of_credentials(error)
        or type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError", "PermissionError")
    ):
        return BadConfiguration(f"{where}: {what} ({reason(error)}); {CREDENTIALS}")
    if not _ELSEWHERE.search(said) and _OUT_OF_REACH.search(said):
        return TryAgain(f"{where}: {what} ({reason(error)}); run again")
    return BadConfiguration(f"{where}: {what} ({reason(error)}); check the URI, the region and the store's settings")


def _of_credentials(error: BaseException) -> bool:
    """Of Amazon's tools: no such profile, not logged in, no region."""
    return type(error).__module__.partition(".")[0] == "botocore"
