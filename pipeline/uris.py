"""Names of places elsewhere, and what of them may be said."""

from __future__ import annotations

import re

from pipeline.errors import BadConfiguration

_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_QUERY = re.compile(r"\?[^/*?=]*=.*", re.DOTALL)
"""Names and values. A `?` that no value follows is part of a pattern."""
_BUCKETS = ("s3", "s3a", "gs")
_USER, _KEYS = re.compile(r"[^@/]*:[^@/]*@"), re.compile(r"[^@]*:[^@]*@")
"""User and password; a key that stands before a bucket may have slashes in it. Azure's and Hugging Face's names have an @ of their own, in
container@account and name@revision."""


def is_uri(name: object) -> bool:
    """A `Path` never is: it has one slash where a URI has two."""
    return isinstance(name, str) and bool(_URI.match(name))


def without_secrets(name: str) -> str:
    """A URI without user and password, and without what its query says: keys, tokens, signatures."""
    if not is_uri(name):
        return name
    scheme, _, rest = name.partition("://")
    of_bucket = scheme.lower() in _BUCKETS
    host = rest.partition("/")[0]
    if found := (_KEYS if of_bucket else _USER).match(rest):
        rest = rest[found.end() :]
    elif of_bucket and ("@" in host or ":" in host):  # no bucket is called so
        rest = "..." + rest[len(host) :].rpartition("@")[2]
    return f"{scheme}://{_QUERY.sub('?...', rest)}"


def keep_out_secrets(name: str) -> None:
    """Raises BadConfiguration for a URI with credentials in it: it would stand in manifests and logs."""
    if is_uri(name) and (clean := without_secrets(name)).lower() != name.lower():
        raise BadConfiguration(f"{clean}: credentials do not belong there; set them in the environment or in a profile")
