"""Outcomes to rows, rows to Parquet with explicit schemas, and the commit that readers see as a whole or not at all."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
from filelock import FileLock, Timeout
from polars.exceptions import PolarsError

from pipeline.errors import BadConfiguration, TryAgain

_IDS = pl.List(pl.String())
RESTAURANTS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "restaurant_name": pl.String(),
    "status": pl.String(),
    "error": pl.String(),
    "review_count": pl.Int64(),
    "sampled_count": pl.Int64(),
    "rejected_count": pl.Int64(),
    "truncated_count": pl.Int64(),
    "positive_count": pl.Int64(),
    "neutral_count": pl.Int64(),
    "negative_count": pl.Int64(),
    "unlabelled_count": pl.Int64(),
    "positive_ratio": pl.Float64(),
    "mean_rating": pl.Float64(),
    "rating_agreement": pl.Float64(),
    "summary": pl.String(),
    "summary_kind": pl.String(),
    "summary_support": pl.Float64(),
    "summary_sentences": pl.List(pl.Struct({"text": pl.String(), "review_ids": _IDS})),
    "comparison_summary": pl.String(),
    "target_restaurant_strength": pl.String(),
    "strengths": pl.List(
        pl.Struct({"aspect": pl.String(), "claim": pl.String(), "quote": pl.String(), "review_ids": _IDS, "support": pl.Int64()})
    ),
    "strengths_kind": pl.String(),
    "dropped_claims": pl.Int64(),
    "peers": _IDS,
    "deadline": pl.Datetime("us", "UTC"),
    "deadline_met": pl.Boolean(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "finished_s": pl.Float64(),
    "compared_s": pl.Float64(),
    "fingerprint": pl.String(),
    "reused": pl.Boolean(),
}
REVIEWS: dict[str, pl.DataType] = {
    "restaurant_id": pl.String(),
    "review_id": pl.String(),
    "sentiment": pl.String(),
    "score": pl.Float64(),
    "flags": pl.List(pl.String()),
}
REQUESTS: dict[str, pl.DataType] = {
    "key": pl.String(),
    "task": pl.String(),
    "stage": pl.String(),
    "restaurant_id": pl.String(),
    "status": pl.String(),
    "prompt_tokens": pl.Int64(),
    "cached_tokens": pl.Int64(),
    "output_tokens": pl.Int64(),
    "queue_s": pl.Float64(),
    "prefill_s": pl.Float64(),
    "decode_s": pl.Float64(),
    "finished_s": pl.Float64(),
    "position": pl.Int64(),
    "finish_reason": pl.String(),
    "reused": pl.Boolean(),
}
RUN_COLUMNS = ("prompt_tokens", "cached_tokens", "output_tokens", "finished_s", "compared_s", "reused")
"""Columns of `restaurants.parquet` that tell about the run; the others are the result, equal whenever the same dump is analysed."""

MANIFEST, CURRENT = "manifest.json", "current.json"


@dataclass(frozen=True, slots=True)
class Results:
    """The four tables of a run."""

    restaurants: pl.DataFrame
    reviews: pl.DataFrame
    rejects: pl.DataFrame
    requests: pl.DataFrame

    def carry_over(self, previous: Results) -> Results:
        """These results and the rows of all other restaurants of `previous`; its requests stay that run's own story."""
        others = pl.col("restaurant_id").is_in(self.restaurants["restaurant_id"].implode()).fill_null(False).not_()
        kept = previous.restaurants.filter(others).with_columns(reused=pl.lit(True))
        rejects = pl.concat([self.rejects, previous.rejects.filter(others)], how="diagonal_relaxed")
        return Results(
            pl.concat([self.restaurants, kept]).sort("restaurant_id"),
            pl.concat([self.reviews, previous.reviews.filter(others)]).sort("restaurant_id", "review_id"),
            # Rows without a restaurant belong to none that was replaced: the same row of the same file counts once.
            rejects.unique(["source_file", "source_row"], keep="first", maintain_order=True),
            self.requests,
        )


@dataclass(frozen=True, slots=True)
class Previous:
    """The run that readers see so far."""

    results: Results
    manifest: Mapping[str, Any]


def read_back(run: tuple[Path, Mapping[str, Any]]) -> Previous:
    """The tables of a committed run. Raises BadConfiguration where they are damaged."""
    folder, manifest = run
    try:
        tables = [pl.read_parquet(folder / f"{name}.parquet") for name in ("restaurants", "reviews", "rejects", "requests")]
    except (OSError, PolarsError) as error:
        raise BadConfiguration(f"{folder}: its tables cannot be read ({error}); run without --update or choose another --output") from None
    return Previous(Results(*tables), manifest)


@contextmanager
def lock(output: Path) -> Iterator[None]:
    """One run per output at a time; the lock ends with its process. Raises TryAgain where another run holds it."""
    try:
        with FileLock(output / ".lock", timeout=0):
            yield
    except Timeout:
        raise TryAgain(f"{output}: another run is writing there; wait for it or choose another --output") from None


def committed(output: Path) -> tuple[Path, dict[str, Any]] | None:
    """Folder and manifest of the run that readers see, None before the first. Raises BadConfiguration where it is damaged."""
    pointer = output / CURRENT
    if not pointer.exists():
        return None
    try:
        folder = output / str(json.loads(pointer.read_text())["run"])
        return folder, json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfiguration(f"{pointer}: does not lead to a complete run ({error}); mend it or choose another --output") from None


def new_run_id() -> str:
    """Sorts by time, unique without asking anybody."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def check_writable(output: Path) -> None:
    """Fails before the model is loaded, not after the night's work. Raises BadConfiguration."""
    try:
        (output / "runs").mkdir(parents=True, exist_ok=True)
        probe = output / f".probe-{secrets.token_hex(4)}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise BadConfiguration(f"{output}: results cannot be written there ({error.strerror}); choose another --output") from None


def commit(output: Path, run_id: str, results: Results, manifest: Mapping[str, Any]) -> Path:
    """Writes the run's folder, its manifest last, then points `current.json` and the symlink `current` at it. Returns the manifest's path.

    A reader sees the run before or this one, complete. Raises TryAgain where the disk is full or the output went away; then nothing that
    readers see has changed, and what was written of the run is gone again.
    """
    folder = output / "runs" / run_id
    try:
        folder.mkdir(parents=True)
        for field in fields(results):
            _write_table(folder / f"{field.name}.parquet", getattr(results, field.name))
        _write(folder / MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False, default=str) + "\n")
        _sync_folder(folder)
        _sync_folder(folder.parent)
        _write(output / CURRENT, json.dumps({"run": f"runs/{run_id}"}) + "\n")
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, (OSError, PolarsError)):
            raise TryAgain(f"{folder}: results could not be written ({_first_line(error)}); make room and run again") from None
        raise
    _point(output / "current", f"runs/{run_id}")
    _sync_folder(output)
    return folder / MANIFEST


def _write_table(path: Path, frame: pl.DataFrame) -> None:
    frame.write_parquet(path, compression="zstd")
    _sync(path)
    written = pl.scan_parquet(path).select(pl.len()).collect().item()
    if written != frame.height:
        raise TryAgain(f"{path}: {written} rows of {frame.height} could be read back; check the disk and run again")


def frame_of(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Rows to a table of exactly this schema; a column that a row does not name is null."""
    return pl.DataFrame(
        {name: pl.Series(name, [row.get(name) for row in rows], dtype=dtype, strict=True) for name, dtype in schema.items()}
    )


def _write(path: Path, text: str) -> None:
    """Beside the target, then renamed over it."""
    scratch = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    scratch.write_text(text, encoding="utf-8")
    _sync(scratch)
    scratch.replace(path)


def _point(link: Path, target: str) -> None:
    """A convenience for people; where the file system has no symlinks, `current.json` alone counts."""
    scratch = link.with_name(f".current-{secrets.token_hex(4)}")
    try:
        scratch.symlink_to(target)
        scratch.replace(link)
    except OSError:
        scratch.unlink(missing_ok=True)


def _sync_folder(path: Path) -> None:
    with suppress(OSError):  # some network file systems cannot; the rename itself is done
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
