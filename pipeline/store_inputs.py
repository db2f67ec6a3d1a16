"""Files of a dump in an object store: found behind names, patterns and folders, each with its size and what the store calls its version."""

from __future__ import annotations

import re
from importlib.util import find_spec
from urllib.parse import urlsplit

from pipeline.errors import NoInput
from pipeline.object_store import SCHEMES, connected
from pipeline.store_errors import told

_PATTERN = re.compile(r"[*?\[]")
_WILD = re.compile(r"\*\*/|\*\*|\*|\?|\[[^\]]+\]")

Stamp = tuple[int, str]
"""Size in bytes, and e-tag."""


def is_listed(uri: str) -> bool:
    """Whether files behind it can be told apart here: of the stores that results can be committed to, with the extra `cloud`. Others are
    left to Polars as they are named."""
    return urlsplit(uri).scheme in SCHEMES and find_spec("obstore") is not None


def objects(uri: str) -> list[str]:
    """URIs of the Parquet files behind one: itself, those that match it, or those below it, sorted. Raises NoInput, BadConfiguration,
    TryAgain."""
    from obstore import list as listed

    root, key = _parts(uri)
    if not _PATTERN.search(key) and stamp(uri) is not None:
        return [uri]
    fixed = key[: found.start()].rpartition("/")[0] if (found := _PATTERN.search(key)) else key.rstrip("/")
    with told(uri, "cannot be listed"):
        names = [one["path"] for some in listed(connected(root), fixed or None) for one in some if one["size"]]
    wanted = _matching(key) if _PATTERN.search(key) else re.compile(r"(?s:.*\.parquet)")
    matched = sorted(name for name in names if wanted.fullmatch(name) and not _hidden(name.removeprefix(fixed)))
    if not matched:
        raise NoInput(f"{uri}: no Parquet file found there; name files, a pattern or a folder that holds *.parquet")
    return [f"{root}/{name}" for name in matched]


def stamp(uri: str) -> Stamp | None:
    """Of one object, None where there is none. Raises BadConfiguration, TryAgain."""
    from obstore import head

    root, key = _parts(uri)
    try:
        with told(uri, "cannot be read"):
            found = head(connected(root), key)
    except FileNotFoundError:
        return None
    return found["size"], found["e_tag"] or str(found["last_modified"])


def _parts(uri: str) -> tuple[str, str]:
    """The bucket, and the name in it."""
    parts = urlsplit(uri.replace("?", "%3F").replace("#", "%23"))  # parts of a name, not of an address
    return f"{parts.scheme}://{parts.netloc}", parts.path.lstrip("/").replace("%3F", "?").replace("%23", "#")


def _matching(pattern: str) -> re.Pattern[str]:
    """As the shell and Polars read it: `*` within a folder, `**` over any."""
    wild = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    out, at = "", 0
    for found in _WILD.finditer(pattern):
        out += re.escape(pattern[at : found.start()]) + wild.get(found[0], found[0].replace("[!", "[^"))
        at = found.end()
    return re.compile(out + re.escape(pattern[at:]), re.DOTALL)


def _hidden(below: str) -> bool:
    """Other tools' scratch places, as in Spark; `_day=1` is a partition."""
    return any(part.startswith(("_", ".")) and "=" not in part for part in below.split("/"))
