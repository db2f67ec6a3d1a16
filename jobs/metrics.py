"""The figures of the last run as a file that node_exporter's textfile collector reads.

https://github.com/prometheus/node_exporter#textfile-collector asks for a file that appears whole, under a name that ends in `.prom`; two
files must not hold the same metric with the same labels, so each names its command and its output folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.observed import End, Run
from jobs.run_gauges import GAUGES, OF_A_COMMIT, OF_ALL, PREFIX, Key, figures
from pipeline import durable
from pipeline.errors import JobError
from pipeline.places import inside, place_of

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily


class Metrics:
    """Writes the file when a run has ended. After a run without a commit the figures of the last commit stay, and the time of the last
    success: they are read back from the file, at its first time from the committed manifest."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def began(self, run: Run) -> None:
        """Raises ImportError, hours before the file is due."""
        try:
            import prometheus_client  # noqa: F401
        except ImportError:
            raise ImportError("prometheus-client cannot be imported, so nothing is written; install the extra 'metrics'") from None

    def ended(self, run: Run, end: End) -> None:
        """Raises OSError where the file cannot be written; then it is as before."""
        labels = run.command, str(run.output if isinstance(run.output, str) else run.output.absolute())
        now = self._kept(labels) or _of_committed(run)
        if end.done is not None:
            now[("last_success_timestamp_seconds", ())] = end.at.timestamp()
            if not end.done.nothing_new:
                now = {key: value for key, value in now.items() if key[0] not in OF_A_COMMIT}
                now |= figures(end.done.manifest, end.done.seconds)
        now.setdefault(("last_success_timestamp_seconds", ()), 0.0)
        now[("last_run_timestamp_seconds", ())] = end.at.timestamp()
        now[("last_run_duration_seconds", ())] = (end.at - run.at).total_seconds()
        now[("last_run_exit_code", ())] = end.exit_code
        self._write(labels, now)

    def _kept(self, labels: tuple[str, str]) -> dict[Key, float]:
        """What the file says of this command and output; nothing where there is none, or where it is not such a file."""
        from prometheus_client.parser import text_string_to_metric_families

        found: dict[Key, float] = {}
        try:
            samples = [one for family in text_string_to_metric_families(self._path.read_text()) for one in family.samples]
        except (OSError, ValueError, KeyError, IndexError):
            return {}
        for sample in samples:
            gauge = GAUGES.get(name := sample.name.removeprefix(PREFIX))
            if gauge and tuple(map(sample.labels.get, OF_ALL)) == labels and set(sample.labels) == {*OF_ALL, *gauge.labels}:
                found[name, tuple(sample.labels[label] for label in gauge.labels)] = sample.value
        return found

    def _write(self, labels: tuple[str, str], values: Mapping[Key, float]) -> None:
        from prometheus_client import CollectorRegistry, generate_latest

        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(labels, values))
        durable.write(self._path, generate_latest(registry))
        self._path.chmod(0o644)  # the collector is another user, whatever this one's mask is


class _Collected:
    """Values as a registry of prometheus_client collects them."""

    def __init__(self, labels: tuple[str, str], values: Mapping[Key, float]) -> None:
        self._labels, self._values = labels, values

    def collect(self) -> Iterator[GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        for name, gauge in GAUGES.items():
            family = GaugeMetricFamily(PREFIX + name, gauge.help, labels=(*OF_ALL, *gauge.labels))
            for (of, more), value in self._values.items():
                if of == name:
                    family.add_metric((*self._labels, *more), value)
            if family.samples:
                yield family


def _of_committed(run: Run) -> dict[Key, float]:
    """What the results say that readers see; nothing before the first, or where they are damaged."""
    try:
        there = place_of(inside(run.output, f"dt={run.date}") if run.date else run.output).committed()
        if there is None:
            return {}
        finished = datetime.fromisoformat(there[1]["finished_at"]).timestamp()
        return {**figures(there[1], there[1]["seconds"]), ("last_success_timestamp_seconds", ()): finished}
    except (JobError, KeyError, TypeError, ValueError):  # of another version, or mended by hand
        return {}
