"""Measure ``/metrics`` by the number of series and processes: ``python -m benchmarks.scrape [--quick]``."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from celery import Celery
from prometheus_client.exposition import generate_latest
from redis import Redis

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.outcomes import COMPLETED, STARTED
from celery_health_bp.counts import Counts
from celery_health_bp.stores.redis import RedisStore
from celery_health_bp.web.collector import CeleryCollector, job_families
from celery_health_bp.web.wsgi import create_metrics_app

from .measure import Figure, Table, at_most, interleaved, main
from .multiprocess import multiprocess_scrape
from .stage import Families, getter, redis_server

#: Series -> tasks. Each task has 42 series of histograms; the rest are counters by customer.
TASKS = {100: 1, 1_000: 10, 10_000: 20, 100_000: 100}
HISTOGRAM_SERIES = 42
#: Number of series in the goals.
GOAL = 10_000
WRITERS = (1, 10, 100)
PROCESSES = (1, 50, 200)
#: Limit of series times processes; more would take minutes.
MOST_IN_FILES = 2_000_000
#: ``Accept`` header of Prometheus 3.
ACCEPT = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
#: Name of the row for the complete scrape.
WHOLE = "all of `/metrics`"

NOTES = (
    "Series of jobs: two histograms per task; started and completed per task and customer.",
    "`/metrics`: text format; the totals are read from Redis, the check of the workers is cached.",
    "For Prometheus: with its request headers. It gets OpenMetrics, which client_python writes more slowly, and gzip.",
    "In memory: client_python's `generate_latest` of the same families, created before: the lower limit.",
    "Multiprocess: client_python's mode of that name, with files of 1, 50 and 200 processes with the same series.",
    "These files remain after their process has ended.",
    f"-: more than {MOST_IN_FILES:,} entries in the files; left out because it takes minutes.",
)


class Site:
    """A web process with a given number of series, written by a given number of processes.

    Attributes:
        metrics: requests ``/metrics``.
        prometheus: requests it with the headers of Prometheus.
        families: the metric families, in memory.
        steps: name -> a step of a scrape, in order.
    """

    def __init__(self, url: str, series: int, stack: ExitStack, writers: int = 1) -> None:
        app = Celery("upstream", broker=url)
        prefix = f"{series}.{writers}"
        settings = Settings(
            metrics_key_prefix=prefix, max_customers=series, min_workers=0, timeout_seconds=3, cache_seconds=3600
        )
        store = RedisStore.from_url(url, app, settings)
        stack.callback(store.close)
        fill(store, counts_of(series), writers)
        health = CeleryHealth(lambda: app, settings)
        stack.callback(health.close)
        application = create_metrics_app(health)
        self.metrics = getter(application)
        self.prometheus = getter(application, Accept=ACCEPT, Accept_Encoding="gzip")
        self.families = Families(CeleryCollector(health).collect())
        redis = stack.enter_context(Redis.from_url(url))
        totals, bounds = [(None, store.totals())], settings.duration_buckets_seconds
        self.steps = {
            "read the hash from Redis": lambda: redis.hgetall(f"{{{prefix}}}:totals"),
            "read and parse it": store.totals,
            "make the families": lambda: list(job_families(totals, settings.namespace, bounds)),
            "write the text (`generate_latest`)": self.encode,
            WHOLE: self.metrics,
        }

    def encode(self) -> bytes:
        """Return the text of the families: the lower limit of a scrape."""
        return generate_latest(self.families)


def counts_of(series: int) -> Counts:
    """Return counts with this number of series."""
    ledger = Ledger(Settings().duration_buckets_seconds, series)
    tasks = TASKS[series]
    for task in (f"upstream.tasks.task{number}" for number in range(tasks)):
        for customer in range((series // tasks - HISTOGRAM_SERIES) // 2):
            for outcome in (STARTED, COMPLETED):
                ledger.count(outcome, task, f"customer-{customer}", seconds=0.02)
    return ledger.take()


def fill(store: RedisStore, counts: Counts, writers: int) -> None:
    """Add the counts once per writer, in batches of the size of a flush."""
    rest = iter(counts.counters.items())
    batches = [Counts(histograms=counts.histograms)]
    while batch := dict(islice(rest, 2_000)):
        batches.append(Counts(Counter(batch)))
    for writer in range(writers):
        for sequence, part in enumerate(batches, 1):
            store.add(f"writer{writer}", sequence, part)


def measure(quick: bool) -> list[Table]:
    """Measure by series, by writers and by step."""
    sizes, goal, writers, processes = tuple(TASKS), GOAL, WRITERS, PROCESSES
    if quick:
        sizes, goal, writers, processes = (100, 1_000), 1_000, WRITERS[:2], PROCESSES[:2]
    with ExitStack() as stack:
        url = stack.enter_context(redis_server()).url
        found = {series: times_of(url, series, processes, quick) for series in sizes}
        sites = {number: Site(url, goal, stack, number) for number in writers}
        rounds = 3 if quick else 25
        return [by_series(found, goal), by_writers(sites, goal, rounds), by_step(sites[1], goal, rounds)]


#: Column -> figure, or ``-``.
Cells = dict[str, Any]


def times_of(url: str, series: int, processes: Sequence[int], quick: bool) -> Cells:
    """Return one row of the main table."""
    with ExitStack() as stack:
        site = Site(url, series, stack)
        subjects = {"`/metrics`": site.metrics, "for Prometheus": site.prometheus, "in memory": site.encode}
        cells: Cells = {"bytes": len(site.metrics()), "bytes, for Prometheus": len(site.prometheus())}
        cells |= interleaved(subjects, 3 if quick else max(7, min(50, 200_000 // series)))
        cells["times in memory"] = cells["`/metrics`"].median / cells["in memory"].median
        for number in processes:
            name = f"multiprocess, {number}"
            cells[name] = "-"
            if number * series <= MOST_IN_FILES:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                scrape = multiprocess_scrape(site.families.collect(), number, folder)
                cells |= interleaved({name: scrape}, 1 if quick or number * series > 200_000 else 3)
        return cells


def by_series(found: dict[int, Cells], goal: int) -> Table:
    """Return the main table, with chart and goal."""
    columns = ("series", *found[goal])
    rows = [(series, *cells.values()) for series, cells in found.items()]
    lines = {
        name.strip("`"): [(series, cells[name].median) for series, cells in found.items() if cells[name] != "-"]
        for name in columns
        if isinstance(found[goal].get(name), Figure)
    }
    chart = {"x": "series", "y": "milliseconds", "lines": lines}
    wanted = f"Scrape of {goal:,} series, times `generate_latest` of them in memory"
    goals = (at_most(wanted, 2.0, found[goal]["times in memory"]),)
    return Table("Scrape: milliseconds, median (quartiles)", columns, rows, NOTES, {"scrape-series.png": chart}, goals)


def by_writers(sites: dict[int, Site], goal: int, rounds: int) -> Table:
    """Return the table of the same series written by one process and by many."""
    figures = interleaved({number: site.metrics for number, site in sites.items()}, rounds)
    rows = [(number, found, found.median / figures[1].median) for number, found in figures.items()]
    most, _, ratio = rows[-1]
    wanted = f"Scrape of {goal:,} series that {most} processes have written, times that of 1"
    title = f"Scrape: {goal:,} series by the number of processes that ever wrote them, milliseconds"
    return Table(title, ("writers", "`/metrics`", "times 1 writer"), rows, goals=(at_most(wanted, 1.1, ratio),))


def by_step(site: Site, goal: int, rounds: int) -> Table:
    """Return the table of the steps of a scrape."""
    figures = interleaved(site.steps, rounds)
    whole = figures[WHOLE].median
    rows = [(name, found, found.median / whole) for name, found in figures.items()]
    return Table(f"Scrape: where the time of {goal:,} series goes, milliseconds", ("", "alone", "of the whole"), rows)


if __name__ == "__main__":
    main(measure, __doc__)
