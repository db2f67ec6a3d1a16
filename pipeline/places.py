"""Where results are committed: a local folder, or what an object-store URI names. Both keep the same promises."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline import results
from pipeline.uris import is_uri

Folder = Path | str
"""Of a run: local, or the URI of one."""
Run = tuple[Folder, Mapping[str, Any]]
"""A committed run's folder and its manifest."""


class Place(Protocol):
    """Where results are committed. As text: as the user named it."""

    def locked(self) -> AbstractContextManager[Path]:
        """One run at a time; gives the local folder where it works. Raises TryAgain where another run holds the place, BadConfiguration
        where nothing can be written."""
        ...

    def check(self) -> None:
        """While it is locked, and for nothing: raises TryAgain where another run is known to have taken it over."""
        ...

    def committed(self) -> Run | None:
        """The run that readers see, None before the first. Raises BadConfiguration where it is damaged."""
        ...

    def has_run(self, run_id: str) -> bool:
        """Whether there is one of that name, committed or not."""
        ...

    def fetched(self, run: Folder, names: Collection[str], into: Path) -> Path:
        """A local folder with these files of a committed run, as far as they are there. Raises BadConfiguration, TryAgain."""
        ...

    def other_days(self) -> Iterator[Place]:
        """Of a day's partition (`dt=DAY`) its siblings, the latest first; else none."""
        ...

    def deliver(self, run_id: str, folder: Path, check: Callable[[], None]) -> Folder:
        """Brings the run's complete folder to where it will be read; nobody sees it yet. `check` is called now and then and may raise.
        Raises TryAgain."""
        ...

    def publish(self, run_id: str) -> None:
        """The commit. Raises TryAgain where it did not happen; then readers still see the run before."""
        ...


def place_of(output: Path | str) -> Place:
    """Raises BadConfiguration for a URI where nothing can be committed."""
    if not is_uri(output):
        return LocalPlace(Path(output))
    from pipeline.bucket import Bucket

    return Bucket(str(output))


def inside(folder: Folder, name: str) -> Folder:
    """What is called `name` there."""
    return folder / name if isinstance(folder, Path) else f"{folder}/{name}"


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A folder, where a rename commits (`results.py`)."""

    output: Path

    def __str__(self) -> str:
        return str(self.output)

    def locked(self) -> AbstractContextManager[Path]:
        return results.lock(self.output)

    def check(self) -> None:
        """A lock of the file system is not taken from a run that lives."""

    def committed(self) -> Run | None:
        return results.committed(self.output)

    def has_run(self, run_id: str) -> bool:
        return (self.output / results.RUNS / run_id).exists()

    def fetched(self, run: Folder, names: Collection[str], into: Path) -> Path:
        return Path(run)

    def other_days(self) -> Iterator[Place]:
        days = sorted(self.output.parent.glob("dt=*"), reverse=True) if self.output.name.startswith("dt=") else []
        return (LocalPlace(day) for day in days if day != self.output)

    def deliver(self, run_id: str, folder: Path, check: Callable[[], None]) -> Folder:
        return folder

    def publish(self, run_id: str) -> None:
        results.publish(self.output, run_id)
