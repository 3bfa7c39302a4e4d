"""The metrics of several processes as those of one server, each sample with the label `worker`.

What a process has counted stays counted when it is replaced: to Prometheus a worker's counters only ever rise. What it
showed of the moment (gauges) goes with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

LABEL = "worker"
_RISING = ("counter", "histogram", "summary")

_Key = tuple[str, tuple[tuple[str, str], ...]]  # a sample's name and labels


def parsed(exposition: bytes) -> list[Metric]:
    """Metrics in OpenMetrics' form.

    Raises:
        ValueError: they are not.
    """
    return list(text_string_to_metric_families(exposition.decode()))  # type: ignore[no-untyped-call]


class Ledger:
    """What workers' processes have counted. Safe in all threads.

    A process is known by its worker's number and its own among that worker's processes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._gone: dict[int, _Sums] = {}  # by worker: of all its processes that are no more
        self._seen: dict[tuple[int, int], list[Metric]] = {}  # what a process said last

    def saw(self, worker: int, process: int, metrics: list[Metric]) -> None:
        """A process says this of itself."""
        with self._lock:
            self._seen[worker, process] = metrics

    def gone(self, worker: int, process: int) -> None:
        """It is no more: what it said last is what it has counted."""
        with self._lock:
            self._gone.setdefault(worker, _Sums()).add(self._seen.pop((worker, process), []))

    def total(self, worker: int, now: int | None) -> list[Metric]:
        """A worker's metrics.

        Args:
            now: the process whose gauges count; None: there is none, and only what was counted is given.
        """
        with self._lock:
            sums = _Sums(self._gone.get(worker))
            processes = {number: metrics for (whose, number), metrics in self._seen.items() if whose == worker}
        for metrics in processes.values():
            sums.add(metrics)
        gauges = [metric for metric in processes.get(now or 0, []) if metric.type not in _RISING]
        return [*sums.metrics(), *gauges]


class _Sums:
    """Families of what only rises, added up over processes."""

    def __init__(self, before: _Sums | None = None) -> None:
        self._families: dict[str, Metric] = dict(before._families) if before else {}
        self._samples: dict[str, dict[_Key, Sample]] = (
            {name: dict(samples) for name, samples in before._samples.items()} if before else {}
        )

    def add(self, metrics: Iterable[Metric]) -> None:
        for metric in metrics:
            if metric.type not in _RISING:
                continue
            self._families.setdefault(metric.name, metric)
            samples = self._samples.setdefault(metric.name, {})
            for sample in metric.samples:
                if not sample.name.endswith("_created"):
                    key = sample.name, tuple(sorted(sample.labels.items()))
                    before = samples[key].value if key in samples else 0.0
                    samples[key] = sample._replace(value=before + sample.value)

    def metrics(self) -> Iterator[Metric]:
        for name, family in self._families.items():
            whole = _empty(family)
            whole.samples = list(self._samples[name].values())
            yield whole


class Merged(Collector):
    """The parent's own metrics and its workers', as what is exposed.

    Args:
        own: the parent's.
        workers: gives each worker's metrics, by its number, as they are now.
    """

    def __init__(self, own: CollectorRegistry, workers: Callable[[], Mapping[int, Iterable[Metric]]]) -> None:
        self._own = own
        self._workers = workers

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        families = {metric.name: _copied(metric) for metric in self._own.collect()}
        for number, metrics in sorted(self._workers().items()):
            for metric in metrics:
                family = families.setdefault(metric.name, _empty(metric))
                family.samples += [_labelled(sample, number) for sample in metric.samples]
        yield from families.values()


def _labelled(sample: Sample, number: int) -> Sample:
    return sample._replace(labels={**sample.labels, LABEL: str(number)})


def _empty(metric: Metric) -> Metric:
    return Metric(metric.name, metric.documentation, metric.type, metric.unit)


def _copied(metric: Metric) -> Metric:
    copy = _empty(metric)
    copy.samples = list(metric.samples)
    return copy
