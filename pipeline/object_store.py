"""An object store, and its errors in words. What a store says is not passed on: it may quote a request with its key and signature."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import BadConfiguration, BadData, JobError, NoInput, TryAgain
from pipeline.printable import printable

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
"""That can write on a condition, which is what a commit is there."""
RETRIES, RETRYING_S = 8, 90
"""With growing pauses, of a request that got no answer or a server's error; a run's work is worth a minute's patience. How long one answer
is waited for is the store's own 30 s: options of its client given here would switch off those of the environment."""
_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


def opened(uri: str) -> ObjectStore:
    """The part of a store that a URI names, with the credentials of the environment, or of a profile. Raises BadConfiguration."""
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise BadConfiguration(f"{without_secrets(uri)}: results are committed to a folder or to one of {known}")
    keep_out_secrets(uri)
    if not parts.netloc or any(part in ("", ".", "..") for part in parts.path.strip("/").split("/")) or re.search(r"[*?#\[\]]", uri):
        raise BadConfiguration(f"{uri}: name one place, e.g. {parts.scheme}://bucket/reviews")
    try:
        from obstore.store import from_url
    except ImportError:
        raise BadConfiguration(f"{uri}: obstore cannot be imported; install the extra 'cloud'") from None
    with told(uri, "cannot be reached"):
        return from_url(
            uri,
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRYING_S)},
            **_credentials(parts.scheme),
        )


def _credentials(scheme: str) -> dict[str, Any]:
    """Of Amazon's tools, which know profiles; without them the store's own, which know the environment and the machine's role."""
    if scheme not in ("s3", "s3a"):
        return {}
    with suppress(ImportError, ValueError):  # not installed; knows none
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider()}
    return {}


def without_secrets(uri: str) -> str:
    """A URI without what stands before its host, and of the web's also behind its path: keys, tokens, signatures. In an object's name a
    question mark is part of a pattern."""
    parts = urlsplit(uri)
    before, _, host = parts.netloc.rpartition("@")
    keyed = ":" in before or (bool(before) and parts.scheme in ("s3", "s3a", "gs", "http", "https"))
    signed = parts.scheme in ("http", "https") and bool(parts.query or parts.fragment)
    if not keyed and not signed:
        return uri
    return f"{parts.scheme}://{host if keyed else parts.netloc}{parts.path}" + ("?..." if signed else "")


def keep_out_secrets(name: str) -> None:
    """Raises BadConfiguration for a URI with credentials in it: it would stand in manifests and logs."""
    if "://" in name and (clean := without_secrets(name)) != name:
        raise BadConfiguration(f"{clean}: credentials do not belong there; set them in the environment or in a profile")


@contextmanager
def told(where: str, what: str) -> Iterator[None]:
    """Around requests: raises BadConfiguration where asking again is no use, else TryAgain. Those of a condition that did not hold, and of
    an object that is not there, pass."""
    from obstore import exceptions

    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        do = "check the credentials in the environment or the profile, and what they allow"
        raise BadConfiguration(f"{where}: {what} ({reason(error)}); {do}") from None
    except (exceptions.UnknownConfigurationKeyError, exceptions.NotSupportedError, exceptions.InvalidPathError, ValueError) as error:
        raise BadConfiguration(f"{where}: {what} ({reason(error)}); check the URI and the store's settings") from None
    except FileNotFoundError as error:
        if _CODE.search(str(error)) and "NoSuchBucket" in str(error):
            raise BadConfiguration(f"{where}: {what} (no such bucket); make it, or check the name") from None
        raise
    except exceptions.BaseError as error:
        raise TryAgain(f"{where}: {what} ({reason(error)}); run again") from None


def put_object(uri: str, content: bytes, kind: str) -> None:
    """An object of its own. `kind`: its media type, by which a browser shows it. Raises BadConfiguration, TryAgain."""
    from obstore import put

    place, _, name = uri.rpartition("/")
    with told(uri, "could not be written"):
        put(opened(place), name, content, attributes={"Content-Type": kind}, use_multipart=False)


def unreadable(uri: str, error: BaseException) -> JobError:
    """What a reader's error about an object means."""
    status = _STATUS.search(str(error))
    if missing(error):
        return NoInput(f"{uri}: no such object there; check the URI")
    if status and status[1].startswith(("401", "403")):
        return BadConfiguration(f"{uri}: {reason(error)}; check the credentials in the environment or the profile, and what they allow")
    if status or reason(error) != type(error).__name__:
        return TryAgain(f"{uri}: {reason(error)}; run again")
    return BadData(f"{uri}: cannot be read ({printable(str(error).partition(chr(10))[0])}); write it again or leave it out")


def reason(error: BaseException) -> str:
    """What went wrong, of a store's answer the status and the code alone."""
    said = str(error)
    found = [match[1].strip() for match in (_STATUS.search(said), _CODE.search(said)) if match]
    if found:
        return ", ".join(found)
    first = said.partition("\n")[0]
    if re.search(r"timed? ?out", first, re.IGNORECASE):
        return "no answer in time"
    return "no connection" if re.search(r"connect|send|dns|body", first, re.IGNORECASE) else type(error).__name__


def missing(error: BaseException) -> bool:
    """Whether a store was asked and has no such object."""
    return isinstance(error, FileNotFoundError) or bool(re.search(r"code: 404\b|expanded paths were empty", str(error)))
