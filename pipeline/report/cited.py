"""The reviews behind what a page says. A run keeps no text of reviews: they are read again from its dump, where that is what it was."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from pipeline.analysis import Committed
from pipeline.contract import REVIEWS, Contract
from pipeline.errors import BadData, JobError
from pipeline.inputs import is_remote
from pipeline.reading import opened
from pipeline.report.opened import rows_of
from pipeline.reviews import Selection, read

MOST_BYTES = 2 << 30
"""Of a dump that is read again. A larger one would keep a machine with a GPU waiting for minutes, for a page."""
ANY_SIZE = 1 << 62
IDS = ("restaurant_id", "review_id")
TEXTS = {name: REVIEWS.columns[name] for name in (*IDS, "text", "rating", "created_at")}


def reviews_of(run: Committed, wanted: pl.DataFrame) -> tuple[pl.DataFrame, str | None]:
    """`wanted`: restaurant_id and review_id. Returns what the run and its dump say of these reviews (text and the like are null where the
    dump does not), and why there are no texts, None where there are."""
    labels = rows_of(run, "reviews").filter(pl.col("restaurant_id").is_in(wanted["restaurant_id"].unique().to_list()))
    known = labels.join(wanted.lazy(), on=IDS, how="semi").select(*IDS, "sentiment", "score", "flags").collect(engine="streaming")
    reason = None
    try:
        texts = _texts(run.manifest, wanted)
    except (JobError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:  # a manifest may be of any age
        texts, reason = pl.DataFrame(schema=TEXTS), str(error) if isinstance(error, JobError) else "its manifest does not tell what it read"
    return wanted.join(known, on=IDS, how="left").join(texts, on=IDS, how="left"), reason


def _texts(manifest: Mapping[str, Any], wanted: pl.DataFrame) -> pl.DataFrame:
    """Rows of the dump as the run has read it, made ids and repeated ones included. Raises BadData where it is another dump by now."""
    inputs = [one for one in manifest["inputs"] if one.get("holds") != "queries"]
    paths = [one["path"] for one in inputs]
    _still_there(inputs)
    chosen = manifest.get("updated") or manifest["selection"]
    since, until = (datetime.fromisoformat(one) if one else None for one in (chosen["since"], chosen["until"]))
    names = set(wanted["restaurant_id"])
    if manifest.get("updated"):  # rows of other restaurants were kept, which may be in no dump any more
        names &= _named(paths, manifest["columns"])
    if not names:
        return pl.DataFrame(schema=TEXTS)
    with tempfile.TemporaryDirectory(prefix="report-") as scratch:
        dump = read(paths, manifest["columns"], Selection(tuple(sorted(names)), since, until), ANY_SIZE, Path(scratch))
        if [one.digest for one in dump.files] != [one["digest"] for one in inputs]:
            raise BadData("the dump has changed since")
        parts = [part.select(*TEXTS).join(wanted, on=IDS, how="semi") for part in dump]
    return pl.concat(parts)


def _still_there(inputs: Sequence[Mapping[str, Any]]) -> None:
    """What can be told without reading. Raises BadData."""
    if any(is_remote(one["path"]) for one in inputs):
        raise BadData("the dump is in an object store, which a report does not read again")
    if not all(Path(one["path"]).is_file() for one in inputs):
        raise BadData("the dump is not where it was")
    if any(Path(one["path"]).stat().st_size != one["size"] for one in inputs):
        raise BadData("the dump has changed since")
    if sum(one["size"] for one in inputs) > MOST_BYTES:
        raise BadData(f"the dump holds more than {MOST_BYTES >> 30} GiB, which a report does not read again")


def _named(paths: Sequence[str], columns: Mapping[str, str]) -> set[str]:
    names = Contract({"restaurant_id": REVIEWS.columns["restaurant_id"]}, required=("restaurant_id",))
    found: set[str] = set()
    with opened(paths, columns, REVIEWS, ANY_SIZE) as files:
        for piece in files.pieces(names):
            found.update(piece["restaurant_id"].unique().drop_nulls())
    return found
