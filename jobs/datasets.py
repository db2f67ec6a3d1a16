"""What files are called in a catalogue of data.

The names are those of OpenLineage (https://openlineage.io/docs/spec/naming): a local path has the namespace `file`, an object store's
address its scheme and bucket. A pattern stands for the folder that its files are in, so that every night's run reads the same dataset.
"""

from __future__ import annotations

import os
import re
from pathlib import PurePosixPath

_PATTERN = re.compile(r"[*?\[]")
_QUERY = re.compile(r"\?[^/*]*=.*|#.*", re.DOTALL)
"""A `?` that no value follows is part of a pattern."""
_CONTAINER = ("abfs", "abfss", "wasb", "wasbs")
"""Azure's schemes write container@account where others write user@host."""
_SAME = {"s3a": "s3", "s3n": "s3", "gcs": "gs"}


def dataset_name(given: str) -> tuple[str, str]:
    """Namespace and name of a file, folder, pattern or address; without user, password, query and fragment."""
    scheme, is_address, rest = given.partition("://")
    if not is_address:
        return "file", _folder(os.path.abspath(given))  # noqa: PTH100 - a link keeps its name
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    host, _, key = _QUERY.sub("", rest).partition("/")
    if scheme == "file":
        return "file", _folder(f"/{key}")
    if scheme not in _CONTAINER:
        host = host.rpartition("@")[2]
    return f"{scheme}://{host}", _folder(key) or "/"


def _folder(path: str) -> str:
    """Up to the first part that is a pattern."""
    plain: list[str] = []
    for part in PurePosixPath(path).parts:
        if _PATTERN.search(part):
            break
        plain.append(part)
    return str(PurePosixPath(*plain)) if plain else ""
