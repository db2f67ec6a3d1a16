"""Hundreds of damaged files, each read in a process that may die of it: every one ends in a result or a named error, soon and small."""

import json
import os
import select
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import parquet_mutations
import pytest

MUTATIONS = int(os.environ.get("MUTATIONS", "500"))
WORKERS = 2
MOST_SECONDS, MOST_MIB = 20, 2048
START_SECONDS = 120
TESTS = Path(__file__).parent


class Worker:
    """A process that reads mutations; a fresh one after each that died or hung."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process: subprocess.Popen[str] | None = None

    def read(self, name: str) -> tuple[str, str, int]:
        """(outcome, detail, peak MiB) for one mutation; `crash` and `hang` are outcomes too."""
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, str(TESTS / "parquet_worker.py"), str(self.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (TESTS.parent, TESTS)))},
            )
            assert self._line(START_SECONDS) == "ready"
        self.process.stdin.write(name + "\n")
        found = self._line(MOST_SECONDS)
        if isinstance(found, str):
            self.close()
            return found, "", 0
        return tuple(found)

    def _line(self, seconds: float) -> object:
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else None
        return "hang" if line is None else json.loads(line) if line else "crash"

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def read_all(folder: Path, names: list[str]) -> dict[str, tuple[str, str, int]]:
    def share(number: int) -> dict[str, tuple[str, str, int]]:
        worker = Worker(folder / f"{number}.parquet")
        try:
            return {name: worker.read(name) for name in names[number::WORKERS]}
        finally:
            worker.close()

    with ThreadPoolExecutor(WORKERS) as pool:
        return {name: found for part in pool.map(share, range(WORKERS)) for name, found in part.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    began = time.monotonic()
    found = read_all(tmp_path_factory.mktemp("mutations"), parquet_mutations.names(MUTATIONS))
    outcomes = dict(Counter(outcome for outcome, _, _ in found.values()))
    seconds, peak = time.monotonic() - began, max(mib for _, _, mib in found.values())
    print(f"{len(found)} mutations in {seconds:.0f} s: {outcomes}, peak {peak} MiB")  # noqa: T201 - the figures, seen with -s
    return found


@pytest.mark.kill
def test_every_mutation_ends_in_a_result_or_a_named_error_soon_and_in_little_memory(found):
    offences = {name: one for name, one in found.items() if one[0] not in ("result", "BadData") or one[2] > MOST_MIB}
    assert not offences, f"make one again with parquet_mutations.mutated(name): {offences}"
    assert len(found) == MUTATIONS


@pytest.mark.kill
def test_mutations_are_neither_all_refused_at_the_door_nor_all_harmless(found):
    assert sum(outcome == "result" for outcome, _, _ in found.values()) > MUTATIONS / 10
    refused = [detail for outcome, detail, _ in found.values() if outcome == "BadData"]
    for by in ("its footer promises", "page at byte", "cannot be read", "is not Parquet"):
        assert any(by in detail for detail in refused), by


@pytest.mark.kill
def test_a_worker_that_dies_or_raises_is_seen_and_replaced(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "MOST_SECONDS", 5)
    worker = Worker(tmp_path / "x.parquet")
    try:
        assert worker.read("plain/no such kind/0")[0] == "crash"
        assert worker.read("plain/truncated/0")[0] in ("result", "BadData")
        worker.process.send_signal(19)  # stopped, as a hang is
        assert worker.read("plain/truncated/0")[0] == "hang"
        assert worker.read("plain/truncated/0")[0] in ("result", "BadData")
    finally:
        worker.close()
