"""What the parent counts of its workers, and how it collects what they count."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import Metric

from transport.workers.asking import Silent, ask
from transport.workers.merging import LABEL, Ledger, parsed
from transport.workers.process import WorkerProcess
from transport.workers.worker import Worker

DIED, WEDGED, REPLACED = "died", "wedged", "replaced"
_OPENMETRICS = "application/openmetrics-text"
_MOST_ASKED = 16  # at the same time


class FleetMetrics:
    """Metrics of the workers' processes.

    Args:
        registry: the parent's.
        workers: all of them.
        ledger: of what they have counted.
    """

    def __init__(self, registry: CollectorRegistry, workers: Iterable[Worker], ledger: Ledger) -> None:
        self._workers = tuple(workers)
        self._ledger = ledger
        gauge = Gauge("voxtree_workers", "Workers that take new clients.", registry=registry)
        gauge.set_function(lambda: sum(worker.serving is not None for worker in self._workers))
        self._ends = Counter("voxtree_worker_restarts", "Workers' processes that ended.", ["reason"], registry=registry)
        for why in (DIED, WEDGED, REPLACED):
            self._ends.labels(why)
        age = Gauge(
            "voxtree_worker_heartbeat_age_seconds", "Since a worker's last sign of life.", [LABEL], registry=registry
        )
        self._answers = Gauge(
            "voxtree_worker_scraped", "1: its metrics are in this answer as they are now.", [LABEL], registry=registry
        )
        for worker in self._workers:
            age.labels(worker.number).set_function(partial(_age, worker))

    def gone(self, process: WorkerProcess) -> None:
        """A process has ended."""
        why = WEDGED if process.wedged else REPLACED if process.error is None else DIED
        self._ends.labels(why).inc()
        self._ledger.gone(process.number, process.life)

    def scrape(self) -> Mapping[int, Iterable[Metric]]:
        """The metrics of each worker as they are now; of one that does not answer, what it has counted. In a thread."""
        with ThreadPoolExecutor(min(_MOST_ASKED, len(self._workers))) as threads:
            found = dict(threads.map(self._ask, self._workers))
        return {number: self._ledger.total(number, life) for number, life in found.items()}

    def _ask(self, worker: Worker) -> tuple[int, int | None]:
        life = None
        for process in tuple(worker.processes):
            try:
                _, body = ask(process.admin, "/metrics", headers={"Accept": _OPENMETRICS})
                self._ledger.saw(process.number, process.life, parsed(body))
            except (Silent, ValueError):
                continue
            if process is worker.serving:
                life = process.life
        self._answers.labels(worker.number).set(life is not None)
        return worker.number, life


def _age(worker: Worker) -> float:
    process = worker.serving
    return 0.0 if process is None else time.monotonic() - process.heard_at
