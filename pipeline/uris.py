"""Names of places elsewhere, and what of them may be said."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from pipeline.errors import BadConfiguration

_URI = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://")
_QUERY = re.compile(r"\?[^/*?=]*=.*", re.DOTALL)
"""Names and values. A `?` that no value follows is part of a pattern."""
_KEYED = ("s3", "s3a", "gs", "http", "https", "ftp")
"""Whose host no name stands before but a user's; Azure's and Hugging Face's write container@account and name@revision."""


def is_uri(name: object) -> bool:
    """A `Path` never is: it has one slash where a URI has two."""
    return isinstance(name, str) and bool(_URI.match(name))


def without_secrets(name: str) -> str:
    """A URI without user and password, and without what its query says: keys, tokens, signatures."""
    if not is_uri(name):
        return name
    parts = urlsplit(name)
    before, _, host = parts.netloc.rpartition("@")
    keyed = ":" in before or (bool(before) and parts.scheme in _KEYED)
    rest = name[name.index("://") + 3 + len(parts.netloc) :]
    return f"{parts.scheme}://{host if keyed else parts.netloc}{_QUERY.sub('?...', rest)}"


def keep_out_secrets(name: str) -> None:
    """Raises BadConfiguration for a URI with credentials in it: it would stand in manifests and logs."""
    if is_uri(name) and (clean := without_secrets(name)).lower() != name.lower():
        raise BadConfiguration(f"{clean}: credentials do not belong there; set them in the environment or in a profile")
