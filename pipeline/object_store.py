"""An object store: opened, read, and written on conditions."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipeline.errors import BadConfiguration, TryAgain
from pipeline.store_errors import told
from pipeline.uris import keep_out_secrets, without_secrets

if TYPE_CHECKING:
    from obstore import PutMode, UpdateVersion
    from obstore.store import ObjectStore

SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
"""That can write on a condition, which is what a commit is there."""
RETRIES, RETRYING_S, PAUSE_S = 8, 90.0, 2.0
"""With growing pauses, of a request that got no answer or a server's error; a run's work is worth a minute's patience. How long one answer
is waited for is the store's own 30 s: options of its client given here would switch off those of the environment."""
PROFILE = timedelta(minutes=15)
"""How long credentials of a profile are believed: Amazon's tools renew those of a session when less is left."""


def opened(uri: str, retrying_s: float | None = None) -> ObjectStore:
    """The part of a store that a URI names, with the credentials of the environment, or of a profile. Raises BadConfiguration."""
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise BadConfiguration(f"{without_secrets(uri)}: results are committed to a folder or to one of {known}")
    keep_out_secrets(uri)
    if not parts.netloc or any(part in ("", ".", "..") for part in parts.path.strip("/").split("/")) or re.search(r"[*?#\[\]]", uri):
        raise BadConfiguration(f"{uri}: name one place, e.g. {parts.scheme}://bucket/reviews")
    return connected(uri, retrying_s)


def connected(uri: str, retrying_s: float | None = None) -> ObjectStore:
    """A bucket, or a part of one. Raises BadConfiguration."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise BadConfiguration(f"{uri}: obstore cannot be imported; install the extra 'cloud'") from None
    patience = timedelta(seconds=RETRYING_S if retrying_s is None else retrying_s)
    with told(uri, "cannot be reached"):
        return from_url(uri, retry_config={"max_retries": RETRIES, "retry_timeout": patience}, **_credentials(urlsplit(uri).scheme))


def _credentials(scheme: str) -> dict[str, Any]:
    """Of Amazon's tools, which know profiles; without them the store's own, which know the environment and the machine's role."""
    if scheme not in ("s3", "s3a"):
        return {}
    with suppress(ImportError, ValueError):  # not installed; knows none
        from obstore.auth.boto3 import Boto3CredentialProvider

        return {"credential_provider": Boto3CredentialProvider(ttl=PROFILE)}
    return {}


def read(store: ObjectStore, where: str, name: str) -> tuple[bytes, UpdateVersion] | None:
    """An object and its version, None where there is none. Raises BadConfiguration, TryAgain."""
    from obstore import get

    try:
        with told(f"{where}/{name}", "cannot be read"):
            found = get(store, name)
            return bytes(found.bytes()), version_of(found.meta)
    except FileNotFoundError:
        return None


def write(
    store: ObjectStore, where: str, name: str, content: bytes, kind: str = "application/json", mode: PutMode = "overwrite"
) -> UpdateVersion:
    """Raises BadConfiguration, TryAgain; obstore's errors where the condition of `mode` does not hold. `kind`: its media type."""
    from obstore import put

    try:
        with told(f"{where}/{name}", "could not be written"):
            return version_of(put(store, name, content, attributes={"Content-Type": kind}, mode=mode, use_multipart=False))
    except FileNotFoundError:
        raise BadConfiguration(f"{where}: there is no such place; make it, or check the name") from None


def change(store: ObjectStore, where: str, name: str, content: bytes, before: UpdateVersion | None) -> UpdateVersion | None:
    """Writes an object that is as it was `before` (None: that is not there); its new version, None where it is not as it was any more.

    No two writers write the same content. So after an answer that was lost the object itself tells what became of the request: a store does
    not repeat a write on a condition, and one that was repeated fails on itself. Raises BadConfiguration; TryAgain after RETRYING_S.
    """
    from obstore import exceptions

    end = time.monotonic() + RETRYING_S
    while True:
        problem = None
        try:
            return write(store, where, name, content, mode=before or "create")
        except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
            pass
        except TryAgain as error:
            problem = error
        found = read(store, where, name)
        if found is not None and found[0] == content:
            return found[1]
        if problem is None or (found and found[1]) != before:
            return None
        if time.monotonic() > end:
            raise problem
        time.sleep(PAUSE_S)


def version_of(found: Mapping[str, Any]) -> UpdateVersion:
    """From the result of a write or the head of a read: a condition for "still the same"."""
    version: UpdateVersion = {}
    if found.get("e_tag"):
        version["e_tag"] = found["e_tag"]
    if found.get("version"):
        version["version"] = found["version"]
    return version


def put_object(uri: str, content: bytes, kind: str) -> None:
    """An object of its own. `kind`: its media type, by which a browser shows it. Raises BadConfiguration, TryAgain."""
    place, _, name = uri.rpartition("/")
    write(opened(place), place, name, content, kind)
