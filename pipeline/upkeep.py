"""Looking after a store: what is in it, making it smaller, forgetting what must be forgotten. Everything here runs under its lock."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout

from pipeline import parts, suspects, usage
from pipeline.errors import NoInput, TryAgain, cannot_write
from pipeline.parts import Part

ANSWERS, SUSPECTS, CALIBRATIONS, LOCK = "answers", "suspects", "calibrations", ".lock"
MANY_PARTS = 64
"""Small parts that are worth merging."""
LEFT_BEHIND_S = 3600
"""A part is written within seconds; a scratch file older than that has no writer any more."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What an upkeep did: rows gone, bytes of answers before and after."""

    answers: int
    bytes_before: int
    bytes_after: int


def compact(answers: Path) -> None:
    """Merges small parts where many follow one another, removes what dead writers left. Call it under the store's lock.

    Only those between two full ones: merged across a full part, an older answer would come to stand after a newer one.
    """
    for scratch in answers.glob(".v*.parquet.*"):
        with suppress(FileNotFoundError):  # a living writer has just finished it
            if time.time() - scratch.stat().st_mtime > LEFT_BEHIND_S:
                scratch.unlink()
    for full, neighbours in groupby(parts.listed(answers), key=lambda part: part.full):
        some = list(neighbours)
        if not full and len(some) >= MANY_PARTS:
            parts.merge(answers, some)


def describe(folder: Path) -> dict[str, Any]:
    """Size and use of a store: answers, bytes, parts, oldest and newest answer, answers by task, set-aside parts, runs with their hits."""
    answers = _existing(folder)
    listed = parts.listed(answers)
    frames = [rows for part in listed if (rows := _rows(part, "task", "added_at")) is not None]
    rows = pl.concat(frames) if frames else pl.DataFrame(schema={name: parts.SCHEMA[name] for name in ("task", "added_at")})
    runs = usage.noted(folder)
    looked_up, served = (sum(run.get(name, 0) for run in runs) for name in ("looked_up", "served"))
    return {
        "store": str(folder),
        "answers": rows.height,
        "bytes": sum(_size(part.path) for part in listed),
        "parts": len(listed),
        "set_aside": len(list((answers / parts.SET_ASIDE).glob("*"))),
        "by_task": dict(rows["task"].value_counts().sort("task").iter_rows()),
        "oldest": rows["added_at"].min(),
        "newest": rows["added_at"].max(),
        "suspects": len(list((folder / SUSPECTS).glob("*.json"))),
        "runs": len(runs),
        "looked_up": looked_up,
        "served": served,
        "hit_rate": served / looked_up if looked_up else None,
        "last_runs": runs[-5:],
    }


def prune(folder: Path, older_than: timedelta | None = None, max_bytes: int | None = None) -> Removed:
    """Removes answers that were computed longer ago than that, then the oldest parts until what is left is no larger than that.

    An answer is asked again when it is needed again. Raises NoInput, TryAgain where another run holds the lock.
    """
    with _locked(folder) as answers:
        before = _bytes(answers)
        gone = 0
        if older_than is not None:
            gone += _keep(answers, pl.col("added_at") >= datetime.now(UTC) - older_than)
        if max_bytes is not None:
            left = _bytes(answers)
            for part in parts.listed(answers):
                if left <= max_bytes:
                    break
                left -= _size(part.path)
                gone += part.height
                part.remove()
        return Removed(gone, before, _bytes(answers))


def forget(folder: Path, restaurants: Collection[str]) -> Removed:
    """Removes every answer that was asked for these restaurants; a summary of fifty reviews cannot forget one of them. Parts that were set
    aside as damaged go, too: nobody can tell what they hold.

    Raises NoInput, BadConfiguration where nothing can be changed there, TryAgain where another run holds the lock.
    """
    with _locked(folder) as answers:
        before = _bytes(answers)
        gone = _keep(answers, ~pl.col("restaurant_id").is_in(sorted(restaurants)))
        shutil.rmtree(answers / parts.SET_ASIDE, ignore_errors=True)
        suspects.forget(folder / SUSPECTS, restaurants)
        return Removed(gone, before, _bytes(answers))


def _keep(answers: Path, keep: pl.Expr) -> int:
    """Rewrites the parts that hold rows to remove, each alone, so that memory stays that of one part."""
    gone = 0
    for part in parts.listed(answers):
        rows = part.rows()
        if rows is None:
            part.set_aside()
        elif rows.filter(~keep).height:
            gone += parts.merge(answers, [part], keep)[1]
    return gone


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    answers = _existing(folder)
    try:
        with FileLock(folder / LOCK, timeout=10):
            yield answers
    except Timeout:
        raise TryAgain(f"{folder}: a run is merging answers there; try again in a moment") from None
    except OSError as error:
        raise cannot_write(f"{folder}: nothing can be changed there", error, "ask whoever owns the store") from None


def _existing(folder: Path) -> Path:
    if not (folder / ANSWERS).is_dir():
        raise NoInput(f"{folder}: is no store (it has no folder '{ANSWERS}'); check the path")
    return folder / ANSWERS


def _rows(part: Part, *columns: str) -> pl.DataFrame | None:
    try:
        return part.rows(*columns)
    except FileNotFoundError:  # merged since it was listed
        return None


def _bytes(answers: Path) -> int:
    return sum(_size(part.path) for part in parts.listed(answers))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
