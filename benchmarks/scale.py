"""Measure a check, a scrape and a flush with 1 to 1,000 nodes: ``python -m benchmarks.scale [--quick]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from celery import Celery
from prometheus_client.exposition import generate_latest
from redis import Redis

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.outcomes import COMPLETED, STARTED
from celery_health_bp.counts import Counts
from celery_health_bp.stores.redis import RedisStore
from celery_health_bp.web.collector import CeleryCollector
from celery_health_bp.web.wsgi import create_api_app, create_metrics_app
from tests.support.processes import wait_until

from .crowd import MONITORED, PLAIN, Replies, bare_drain, crowd
from .measure import Figure, Table, at_most, interleaved, main
from .stage import Families, getter, redis_server, traffic

SIZES = (1, 10, 50, 200, 1000)
#: Counts of each worker in a second.
TASKS, CUSTOMERS = 5, 10
NOTES = (
    "One process simulates all nodes. It prepares its replies, so that they arrive as fast as from many machines.",
    "The replies are short: the nodes run no jobs.",
    "Plain: nodes without this package. They send five replies instead of one.",
    "Bare drain: the same broadcasts and replies with kombu alone, which decodes and discards each reply.",
    "Cold: no cache, all nodes are asked. Warm: answered from the cache (`cache_seconds`).",
    "Cold adds, by profile: 8 us per reply to read and match it, 2 us for the observation.",
)
OTHER_NOTES = (
    "`/metrics`: text format; the check is cached, the totals are read from Redis. Each node adds `celery_worker_*`.",
    "In memory: `generate_latest` of the same families.",
    f"A flush is one second of one worker: {TASKS} tasks of {CUSTOMERS} customers. All nodes flush to the same totals.",
)


class Fleet:
    """A fleet of ``size`` nodes, seen by a web process and by a worker.

    Attributes:
        families: the metric families of ``/metrics``, in memory.
    """

    def __init__(self, url: str, size: int, replies: Replies, stack: ExitStack) -> None:
        """Create the fleet while its nodes reply."""
        self.size = size
        self._app = Celery("upstream", broker=url)
        self._prefix = f"fleet{size}.{len(replies)}"
        self._sequence = 0
        self._store = RedisStore.from_url(url, self._app, Settings(metrics_key_prefix=self._prefix))
        stack.callback(self._store.close)
        for number in range(size):
            self._flush(f"node{number}")
        cold, warm = self._health(stack, 0), self._health(stack, 3600)
        self.cold = getter(create_api_app(cold), "/health/")
        self.warm = getter(create_api_app(warm), "/health/")
        self.metrics = getter(create_metrics_app(warm))
        connection = stack.enter_context(self._app.connection_for_write())
        self.bare = bare_drain(self._app, connection, size, replies.keys())
        self.families = Families(CeleryCollector(warm).collect())

    def flush(self) -> None:
        """Send the counts of one second of one worker."""
        self._flush("node0")

    def encode(self) -> None:
        """Write the text of the families only."""
        generate_latest(self.families)

    def _flush(self, node: str) -> None:
        self._sequence += 1
        self._store.add(node, self._sequence, a_second())

    def _health(self, stack: ExitStack, cache_seconds: float) -> CeleryHealth:
        settings = Settings(
            timeout_seconds=20, cache_seconds=cache_seconds, min_workers=self.size, metrics_key_prefix=self._prefix
        )
        health = CeleryHealth(lambda: self._app, settings)
        stack.callback(health.close)
        wait_until(lambda: len(health.check().active_workers) == self.size, f"all {self.size} answer", 60)
        return health


def a_second() -> Counts:
    """Return the counts of one second of one worker."""
    ledger = Ledger(Settings().duration_buckets_seconds, CUSTOMERS)
    for task in range(TASKS):
        for customer in range(CUSTOMERS):
            for outcome in (STARTED, COMPLETED):
                seconds = 0.003 * 2**customer
                ledger.count(outcome, f"upstream.tasks.task{task}", f"customer{customer}", seconds=seconds)
    return ledger.take()


#: (subject, number of nodes) -> milliseconds.
Figures = dict[tuple[str, int], Figure]


def measure(quick: bool) -> list[Table]:
    """Measure times and bytes for each size."""
    sizes = (1, 10) if quick else SIZES
    figures: Figures = {}
    fleets, moved = [], []
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        redis = stack.enter_context(server.client())
        for size in sizes:
            rounds = 2 if quick else max(15, min(50, 5_000 // size))
            with crowd(server.url, size, PLAIN):
                plain = Fleet(server.url, size, PLAIN, stack)
                figures |= asking(plain, rounds, " plain")
            with crowd(server.url, size, MONITORED):
                fleets.append(Fleet(server.url, size, MONITORED, stack))
                figures |= asking(fleets[-1], rounds)
                moved.append(row_of_bytes(fleets[-1], redis))
        figures |= not_asking(fleets, 2 if quick else 50)
    columns = ("nodes", "cold check over Redis", "bare drain over Redis", "`health/`", "`/metrics`", "flush over Redis")
    series = {fleet.size: fleet.families.series for fleet in fleets}
    return [checks(figures, sizes), others(figures, series), Table("Scale: bytes", columns, moved)]


def asking(fleet: Fleet, rounds: int, kind: str = "") -> Figures:
    """Measure a cold check and the bare drain."""
    found = interleaved({"cold": fleet.cold, "bare": fleet.bare}, rounds)
    return {(name + kind, fleet.size): times for name, times in found.items()}


def not_asking(fleets: Sequence[Fleet], rounds: int) -> Figures:
    """Measure warm checks, scrapes and flushes, which ask no node. All sizes are interleaved."""
    warm: dict[tuple[str, int], Callable[[], object]] = {("warm", fleet.size): fleet.warm for fleet in fleets}
    slower: dict[tuple[str, int], Callable[[], object]] = {}
    for fleet in fleets:
        subjects = {"metrics": fleet.metrics, "encode": fleet.encode, "flush": fleet.flush}
        slower |= {(name, fleet.size): subject for name, subject in subjects.items()}
    return interleaved(warm, rounds * 20) | interleaved(slower, rounds)


def row_of_bytes(fleet: Fleet, redis: Redis) -> tuple[int, ...]:
    """Return a row with the bytes sent over Redis and the sizes of the responses."""
    over_redis = [traffic(redis, action) for action in (fleet.cold, fleet.bare, fleet.flush)]
    return (fleet.size, *over_redis[:2], len(fleet.warm()), len(fleet.metrics()), over_redis[2])


def ratio(figures: Figures, subject: str, base: str, size: int, base_size: int | None = None) -> float:
    """Return the ratio of two medians."""
    return figures[subject, size].median / figures[base, base_size or size].median


def checks(figures: Figures, sizes: Sequence[int]) -> Table:
    """Return the table of cold and warm checks, with goals and chart."""
    rows = [
        (
            size,
            *(figures["cold", size], figures["bare", size], ratio(figures, "cold", "bare", size)),
            *(figures["cold plain", size], figures["bare plain", size]),
            ratio(figures, "cold plain", "bare plain", size),
            figures["warm", size],
        )
        for size in sizes
    ]
    columns = (
        "nodes",
        "cold check",
        "bare drain",
        "times bare",
        "cold, plain",
        "bare, plain",
        "times bare",
        "warm check",
    )
    least, most = min(sizes), max(sizes)
    bare, plain = ratio(figures, "cold", "bare", most), ratio(figures, "cold plain", "bare plain", most)
    goals = (
        at_most(f"Cold check of {most:,} workers, times the bare drain of their replies", 1.3, bare),
        at_most(f"Cold check of {most:,} workers without this package, times the bare drain of theirs", 1.3, plain),
        at_most(
            f"Warm check of {most:,} workers, times that of {least}", 1.2, ratio(figures, "warm", "warm", most, least)
        ),
    )
    charts = {"latency-nodes.png": chart(figures)}
    return Table("Scale: checks, milliseconds, median (quartiles)", columns, rows, NOTES, charts, goals)


def others(figures: Figures, series: Mapping[int, int]) -> Table:
    """Return the table of scrapes and flushes."""
    rows = [
        (
            *(size, number, figures["metrics", size], figures["encode", size]),
            *(ratio(figures, "metrics", "encode", size), figures["flush", size]),
        )
        for size, number in series.items()
    ]
    columns = ("nodes", "series", "`/metrics`", "in memory", "times in memory", "flush")
    most = max(series)
    wanted = f"`/metrics` with {most:,} workers, times `generate_latest` of its series in memory"
    goals = (at_most(wanted, 2.0, ratio(figures, "metrics", "encode", most)),)
    return Table("Scale: scrape and flush, milliseconds, median (quartiles)", columns, rows, OTHER_NOTES, goals=goals)


def chart(figures: Figures) -> dict[str, object]:
    """Return the chart of checks by number of nodes."""
    labels = {
        "cold": "health/, cold",
        "bare": "bare drain of the same replies",
        "cold plain": "cold, nodes without the package",
        "bare plain": "bare drain of theirs",
        "warm": "health/, warm",
    }
    lines = {
        label: [(size, found.median) for (name, size), found in figures.items() if name == subject]
        for subject, label in labels.items()
    }
    return {"x": "nodes", "y": "milliseconds", "lines": lines}


if __name__ == "__main__":
    main(measure, __doc__)
