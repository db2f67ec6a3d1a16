"""Tables to Parquet, and the commit that readers see as a whole or not at all."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from filelock import FileLock, Timeout

from pipeline import durable
from pipeline.errors import BadConfiguration, TryAgain, cannot_write
from pipeline.table_file import TableFile, not_written

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

MANIFEST, CURRENT, RUNS, LOCK, HOLDER = "manifest.json", "current.json", "runs", ".lock", ".holder.json"
SCRATCH = ".*-of-this-run"
"""Names of what a run keeps beside its results until it ends."""
_RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}")


@contextmanager
def lock(output: Path, called: str | None = None) -> Iterator[Path]:
    """One run per output at a time; the lock ends with its process, however that ends. Leftovers of runs that died are removed. Gives the
    folder; `called`: what it is to people, where that is another name.

    Raises TryAgain where another run holds it, and names that run; BadConfiguration where nothing can be written there.
    """
    held = FileLock(output / LOCK, timeout=0)
    try:
        (output / RUNS).mkdir(parents=True, exist_ok=True)
        held.acquire()
        about = {"pid": os.getpid(), "host": socket.gethostname(), "since": datetime.now(UTC).isoformat(timespec="seconds")}
        durable.write_json(output / HOLDER, about, scratch=f".{HOLDER}")
    except Timeout:
        raise TryAgain(f"{called or output}: held by {_holder(output)}; wait for it or choose another --output") from None
    except OSError as error:
        held.release()
        raise cannot_write(f"{output}: results cannot be written there", error, "choose another --output") from None
    try:
        _finish_commit(output)
        _clean(output)
        _clean_other_days(output)
        yield output
    finally:
        held.release()


def _holder(output: Path) -> str:
    with suppress(OSError, ValueError, TypeError, KeyError):
        who = json.loads((output / HOLDER).read_text())
        return f"another run (process {who['pid']} on {who['host']}, since {who['since']})"
    return "another run"


def committed(output: Path) -> tuple[Path, dict[str, Any]] | None:
    """Folder and manifest of the run that readers see, None before the first. Raises BadConfiguration where it is damaged."""
    pointer = output / CURRENT
    if not pointer.exists():
        return None
    try:
        folder = output / str(json.loads(pointer.read_text())["run"])
        return folder, read_manifest(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfiguration(f"{pointer}: does not lead to a complete run ({error}); mend it or choose another --output") from None


def read_manifest(folder: Path) -> dict[str, Any]:
    """Of a run that is written. Raises OSError, ValueError."""
    found: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    return found


def _finish_commit(output: Path) -> None:
    """The symlink follows `current.json`, also where a run died between the two. Call it under the lock."""
    with suppress(OSError, ValueError, TypeError, KeyError):  # no commit yet, or a person has to look at it first
        run, link = str(json.loads((output / CURRENT).read_text())["run"]), output / "current"
        if not link.is_symlink() or link.readlink() != Path(run):
            _point(link, run)


def _clean(output: Path) -> None:
    """Removes what runs that died have left, and runs before the previous one. Call it under the lock."""
    try:
        known = json.loads((output / CURRENT).read_text())
        keep = {Path(known[name]).name for name in ("run", "previous") if known.get(name)}
    except FileNotFoundError:
        keep = set()
    except (OSError, ValueError, TypeError, AttributeError):  # a person has to look at it first
        return
    for folder in (output / RUNS).glob("*"):
        if folder.name not in keep and is_run_id(folder.name):
            shutil.rmtree(folder, ignore_errors=True)


def _clean_other_days(output: Path) -> None:
    """The same where a run of another day's partition died with its reviews set aside: that day may never come again. One that is at work
    holds its lock."""
    if output.name.startswith("dt="):
        for left in output.parent.glob(f"dt=*/{SCRATCH}"):
            if left.parent != output:
                away = left.with_name(f".{secrets.token_hex(3)}{left.name}")
                with suppress(Timeout, OSError):
                    with FileLock(left.parent / LOCK, timeout=0):  # for a moment: a run of that day may be about to begin
                        left.rename(away)
                        _clean(left.parent)
                    shutil.rmtree(away, ignore_errors=True)


def new_run_id() -> str:
    """Sorts by time, unique without asking anybody."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def is_run_id(name: str) -> bool:
    """Whether a folder of this name is a run's."""
    return bool(_RUN_ID.fullmatch(name))


def run_id_for(given: str | None, taken: Callable[[str], bool]) -> str:
    """`given`, or a new one. Raises BadConfiguration where it is not of the form by which leftovers are known, or is `taken`."""
    run_id = given or new_run_id()
    if not is_run_id(run_id):
        raise BadConfiguration(f"run id {run_id!r}: is none like {new_run_id()}; take one of pipeline.results.new_run_id()")
    if given and taken(run_id):
        raise BadConfiguration(f"there is a run {run_id} already; take another of pipeline.results.new_run_id()")
    return run_id


def write(
    output: Path,
    run_id: str,
    parts: Iterable[DataclassInstance],
    manifest: Callable[[], Mapping[str, Any]],
    beside: Mapping[str, pl.DataFrame] | None = None,
) -> Path:
    """Writes the run's folder: a file per table, part after part, those `beside` too; then its manifest, asked for when all that is
    written. Returns the folder; nobody sees it before it is published.

    Raises TryAgain where the disk is full or the output went away; then what was written of the run is gone again.
    """
    folder = output / RUNS / run_id
    try:
        with _on_disk(folder):
            folder.mkdir()
        with ExitStack() as open_files:
            files: dict[str, TableFile] = {}
            for part in parts:
                for field in fields(part):
                    if field.name not in files:
                        files[field.name] = open_files.enter_context(TableFile(folder / f"{field.name}.parquet"))
                    files[field.name].write(getattr(part, field.name))
        for name, frame in (beside or {}).items():
            with TableFile(folder / f"{name}.parquet") as file:
                file.write(frame)
        told = manifest()
        with _on_disk(folder):
            durable.write_json(folder / MANIFEST, told)
            durable.sync_folder(folder)
            durable.sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder


@contextmanager
def _on_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise not_written(folder, error) from None


def publish(output: Path, run_id: str) -> Path:
    """The commit: `current.json` and then the symlink `current` point to the run. Returns its manifest's path.

    A reader sees the run before or this one, complete; the run before stays until the next commit. Raises TryAgain where the pointer
    cannot be written; then readers still see the run before.
    """
    pointer = output / CURRENT
    try:
        before = json.loads(pointer.read_text())["run"] if pointer.exists() else None
        durable.write_json(pointer, {"run": f"{RUNS}/{run_id}", "previous": before}, scratch=f".{CURRENT}")
    except OSError as error:
        raise TryAgain(f"{pointer}: could not be written ({durable.first_line(error)}); make room and run again") from None
    _point(output / "current", f"{RUNS}/{run_id}")
    durable.sync_folder(output)
    _clean(output)
    return output / RUNS / run_id / MANIFEST


def _point(link: Path, target: str) -> None:
    """A convenience for people; where the file system has no symlinks, `current.json` alone counts."""
    scratch = link.with_name(".current")
    try:
        scratch.unlink(missing_ok=True)  # of a run that died here
        scratch.symlink_to(target)
        scratch.replace(link)
    except OSError:
        scratch.unlink(missing_ok=True)
