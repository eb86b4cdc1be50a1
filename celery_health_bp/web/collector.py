"""The Prometheus collector: job counts, workers, queues and status, read at each scrape.

If a source cannot be read, its families are left out and ``celery_health_scrape_success`` is 0 for it; the
scrape itself succeeds.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import accumulate
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from prometheus_client.utils import floatToGoString

from ..counts import COUNTERS, HISTOGRAMS, Counts, Histogram
from ..errors import CeleryHealthError
from ..health import CeleryHealth
from ..report import STATUSES, HealthReport, Worker

logger: logging.Logger = logging.getLogger(__name__)

HELP = {
    "started": "Attempts accepted by a pool process.",
    "completed": "Attempts that returned.",
    "failed": "Attempts that failed for good.",
    "retried": "Attempts that asked for a retry, by the type of its cause.",
    "aborted": "Attempts that started and neither returned nor failed.",
    "discarded": "Messages that never started: revoked or expired.",
    "duration": "Execution time of completed attempts in seconds.",
    "queue_wait": "Time from publishing (or the ETA, if later) to start in seconds.",
}


class CeleryCollector(Collector):
    """A prometheus_client collector for one ``CeleryHealth``.

    Arguments:
        health: checked once per scrape, within its deadline; it may return a cached report.
    """

    def __init__(self, health: CeleryHealth) -> None:
        self._health = health
        self._warned_of_unreadable = False

    def describe(self) -> Iterable[Metric]:
        """Return no families, so that registering the collector does not ask the workers."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every family once."""
        success = GaugeMetricFamily("celery_health_scrape_success", "1 if the source was read.", labels=["source"])
        seconds = GaugeMetricFamily(
            "celery_health_scrape_duration_seconds", "Time to read the source in seconds.", labels=["source"]
        )
        began = time.monotonic()
        report = self._health.check()
        asked = report.observation.problem is None
        # Without remote control, the queues can be read but the workers cannot be asked.
        lengths_read = (asked or bool(report.queues)) and all(length >= 0 for length in report.queues.values())
        for source, read in (("workers", asked), ("queues", lengths_read)):
            success.add_metric([source], int(read))
            seconds.add_metric([source], time.monotonic() - began)
        yield from _fleet_families(report, asked)

        began = time.monotonic()
        counts = self._job_counts()
        # The totals lack what workers send to another store, or cannot send.
        complete = not report.observation.strays and not any(worker.failing for worker in report.observation.workers)
        success.add_metric(["store"], int(counts is not None and complete))
        seconds.add_metric(["store"], time.monotonic() - began)
        if counts is not None:
            yield from job_families(counts, self._health.settings.namespace, self._bounds())
        yield from (success, seconds)

    def _job_counts(self) -> list[tuple[str | None, Counts]] | None:
        try:
            counts = self._health.job_counts()
        except CeleryHealthError as exc:
            logger.warning("no job totals in this scrape: %s", exc)
            return None
        unreadable = sum(found.unreadable for _, found in counts)
        if unreadable and not self._warned_of_unreadable:
            self._warned_of_unreadable = True
            logger.warning(
                "%d numbers of the job totals cannot be read and are left out (logged once): "
                "they are not in the form that this package writes",
                unreadable,
            )
        return counts

    def _bounds(self) -> tuple[float, ...]:
        return self._health.settings.duration_buckets_seconds


def _fleet_families(report: HealthReport, asked: bool) -> Iterator[Metric]:
    status = GaugeMetricFamily("celery_health_status", "1 for the current status.", labels=["status"])
    for name in STATUSES:
        status.add_metric([name], int(name == report.status))
    yield status
    lengths = GaugeMetricFamily("celery_queue_length", "Messages waiting in the queue.", labels=["queue_name"])
    for name, length in report.queues.items():
        if length >= 0:
            lengths.add_metric([name], length)
    if asked or lengths.samples:
        yield lengths
    if not asked:
        return
    consumers = GaugeMetricFamily("celery_queue_consumers", "Workers that consume the queue.", labels=["queue_name"])
    for name, queue in sorted(report.observation.queues.items()):
        if queue.consumers is not None:
            consumers.add_metric([name], queue.consumers)
    yield consumers
    # Includes workers that consume no queue, which the status does not count.
    workers = report.observation.workers
    yield GaugeMetricFamily("celery_workers", "Workers that answer.", value=len(workers))
    for name, (help_text, value_of) in WORKER_GAUGES.items():
        gauge = GaugeMetricFamily(name, help_text, labels=["hostname"])
        for worker in workers:
            value = value_of(worker)
            if value is not None:
                gauge.add_metric([worker.name], value)
        yield gauge


#: Name -> help text, and a function that returns the value for a worker, ``None`` if it is not known.
WORKER_GAUGES: dict[str, tuple[str, Callable[[Worker], float | None]]] = {
    "celery_worker_up": ("1 while the worker answers.", lambda _: 1),
    "celery_worker_store_up": (
        "1 if the store accepted the job counts that the worker sent last.",
        lambda worker: None if worker.store is None else not worker.failing,
    ),
    "celery_worker_tasks_active": ("Attempts running.", lambda worker: _count(worker.running)),
    "celery_worker_tasks_reserved": (
        "Messages prefetched and waiting in the worker.",
        lambda worker: worker.reserved,
    ),
    "celery_worker_tasks_scheduled": (
        "Messages waiting in the worker for their ETA.",
        lambda worker: _count(worker.scheduled),
    ),
    "celery_worker_tasks_registered": (
        "Tasks registered in the worker, without Celery's own.",
        lambda worker: worker.tasks.registered if worker.tasks else None,
    ),
    "celery_worker_tasks_counted": (
        "Registered tasks whose attempts are counted.",
        lambda worker: worker.tasks_counted,
    ),
    "celery_worker_pool_size": ("Processes, threads or greenlets of the pool.", lambda worker: worker.concurrency),
}


def _count(tasks: Sized | None) -> int | None:
    return None if tasks is None else len(tasks)


#: The value of a sample, followed by its label values.
_Row = tuple[Any, ...]
#: Pairs of a worker, or ``None`` for the whole fleet, and its counts.
_WorkerCounts = list[tuple[str | None, Counts]]


class _Samples:
    """Samples created one by one while they are written: 100,000 at once slow down the garbage collector."""

    def __init__(self, name: str, labels: list[str], rows: list[_Row]) -> None:
        self._name, self._labels, self._rows = name, labels, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Sample]:
        for number, *values in self._rows:
            yield Sample(self._name, dict(zip(self._labels, values, strict=True)), number)


def job_families(counts: _WorkerCounts, namespace: str, bounds: tuple[float, ...]) -> Iterator[Metric]:
    """Yield the metric families of job counts.

    Arguments:
        counts: pairs of worker and counts. With the worker ``None``, the counts are those of the whole
            fleet, and the families have no ``worker`` label.
        namespace: prefix of the metric names, may be empty.
        bounds: upper bounds of the histograms in seconds.
    """
    prefix = f"{namespace}_" if namespace else ""
    extra = ["worker"] if any(worker is not None for worker, _ in counts) else []
    yield from _counter_families(counts, prefix, extra)
    yield from _histogram_families(counts, prefix, extra, bounds)
    errors = sum(found.internal_errors for _, found in counts)
    yield CounterMetricFamily("celery_health_internal_errors", "Errors of this package while counting.", value=errors)
    yield GaugeMetricFamily(
        "celery_health_store_unreadable_fields",
        "Numbers of the job totals that cannot be read and are left out.",
        value=sum(found.unreadable for _, found in counts),
    )


def _counter_families(counts: _WorkerCounts, prefix: str, extra: list[str]) -> Iterator[Metric]:
    rows: dict[str, list[_Row]] = {kind: [] for kind in COUNTERS}
    for worker, found in counts:
        own = [worker or ""] if extra else []
        for (kind, task_name, detail, customer_id), number in found.counters.items():
            if kind in rows:  # a worker with a newer version may send other kinds
                details = [detail] if COUNTERS[kind] else []
                rows[kind].append((number, task_name, *details, customer_id, *own))
    for kind, detail_label in COUNTERS.items():
        counter = CounterMetricFamily(f"{prefix}background_job_{kind}", HELP[kind])
        labels = ["task_name", *([detail_label] if detail_label else []), "customer_id", *extra]
        counter.samples = _Samples(f"{counter.name}_total", labels, rows[kind])  # type: ignore[assignment]
        yield counter


def _histogram_families(
    counts: _WorkerCounts, prefix: str, extra: list[str], bounds: tuple[float, ...]
) -> Iterator[Metric]:
    for name in HISTOGRAMS:
        metric = f"{prefix}background_job_{name}_seconds"
        family = HistogramMetricFamily(metric, HELP[name], labels=["task_name", *extra])
        for worker, found in counts:
            own = [worker or ""] if extra else []
            for (histogram, task_name), values in found.histograms.items():
                if histogram == name:
                    family.add_metric([task_name, *own], _cumulative(values, bounds), values.sum_seconds)
        yield family


def _cumulative(histogram: Histogram, bounds: tuple[float, ...]) -> list[tuple[str, float]]:
    every = sorted({*bounds, *histogram.buckets, float("inf")})
    totals = accumulate(histogram.buckets[bound] for bound in every)
    return [(floatToGoString(bound), total) for bound, total in zip(every, totals, strict=True)]  # type: ignore[no-untyped-call]
