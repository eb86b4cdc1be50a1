"""What a check, a scrape and a flush cost with 1 to 1,000 nodes: ``python -m benchmarks.scale [--quick]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from celery import Celery
from prometheus_client.exposition import generate_latest
from redis import Redis

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.collector import CeleryCollector
from celery_health_bp.ledger import Counts, Ledger
from celery_health_bp.stores.redis import RedisStore
from celery_health_bp.wsgi import create_api_app, create_metrics_app
from tests.processes import wait_until

from .crowd import bare_drain, crowd
from .measure import Figure, Table, at_most, interleaved, main
from .stage import Families, getter, redis_server, traffic

SIZES = (1, 10, 50, 200, 1000)
#: What each worker counts in a second.
TASKS, CUSTOMERS = 5, 10
NOTES = (
    "All nodes are one process that has its replies written beforehand: they come as fast as from many machines.",
    "The replies are short, of nodes without jobs.",
    "Bare drain: the same five broadcasts and the same replies with kombu alone, each reply decoded and dropped.",
    "Cold: no cache, everybody is asked. Warm: within `cache_seconds`, nobody is asked.",
    "`/metrics` is warm too, and reads the totals from Redis. In memory: `generate_latest` of the same families.",
    "Each node adds its series of `celery_worker_*`.",
    f"A flush is one worker's second: {TASKS} tasks of {CUSTOMERS} customers; all nodes flush to the same totals.",
)


class Fleet:
    """A fleet of so many nodes, seen from one web process and from one of its workers."""

    def __init__(self, url: str, size: int, stack: ExitStack) -> None:
        self.size = size
        self._app = Celery("upstream", broker=url)
        self._prefix = f"fleet{size}"
        self._sequence = 0
        self._store = RedisStore.from_url(url, self._app, Settings(metrics_key_prefix=self._prefix))
        stack.callback(self._store.close)
        for number in range(size):
            self._flush(f"node{number}")
        self._cold, self._warm = self._health(stack, 0), self._health(stack, 3600)
        self.cold = getter(create_api_app(self._cold), "/health/")
        self.warm = getter(create_api_app(self._warm), "/health/")
        self.metrics = getter(create_metrics_app(self._warm))
        self.bare = bare_drain(self._app, stack.enter_context(self._app.connection_for_write()), size)

    def meet(self) -> Families:
        """See that every node is known; what ``/metrics`` shows then."""
        for health in (self._cold, self._warm):
            wait_until(lambda h=health: len(h.check().active_workers) == self.size, f"all {self.size} answer", 60)
        return Families(CeleryCollector(self._warm).collect())

    def flush(self) -> None:
        """What one worker sends in a second."""
        self._flush("node0")

    def _flush(self, node: str) -> None:
        self._sequence += 1
        self._store.add(node, self._sequence, a_second())

    def _health(self, stack: ExitStack, cache_seconds: float) -> CeleryHealth:
        settings = Settings(
            timeout_seconds=20, cache_seconds=cache_seconds, min_workers=self.size, metrics_key_prefix=self._prefix
        )
        health = CeleryHealth(lambda: self._app, settings)
        stack.callback(health.close)
        return health


def a_second() -> Counts:
    """The counts of one worker's second."""
    ledger = Ledger(Settings().duration_buckets_seconds, CUSTOMERS)
    for task in range(TASKS):
        for customer in range(CUSTOMERS):
            for kind in ("started", "completed"):
                ledger.count(kind, f"upstream.tasks.task{task}", f"customer{customer}")
            for histogram in ("duration", "queue_wait"):
                ledger.observe(histogram, f"upstream.tasks.task{task}", 0.003 * 2**customer)
    return ledger.take()


#: What was measured, with how many nodes.
Figures = dict[tuple[str, int], Figure]


def measure(quick: bool) -> list[Table]:
    """Times and bytes for each size."""
    sizes, rounds = ((1, 10), 2) if quick else (SIZES, 9)
    figures: Figures = {}
    fleets, contents, moved = [], {}, []
    with ExitStack() as stack:
        server = stack.enter_context(redis_server())
        redis = stack.enter_context(server.client())
        for size in sizes:
            fleet = Fleet(server.url, size, stack)
            with crowd(server.url, size):
                contents[size] = fleet.meet()
                asked = interleaved({"cold": fleet.cold, "bare": fleet.bare}, rounds)
                figures |= {(name, size): found for name, found in asked.items()}
                moved.append(row_of_bytes(fleet, redis))
            fleets.append(fleet)
        figures |= interleaved({("warm", fleet.size): fleet.warm for fleet in fleets}, rounds * 100)
        figures |= without_asking(fleets, contents, rounds * 5)
    columns = ("nodes", "cold check over Redis", "bare drain over Redis", "`health/`", "`/metrics`", "flush over Redis")
    return [times(figures, contents), Table("Scale: bytes", columns, moved)]


def row_of_bytes(fleet: Fleet, redis: Redis) -> tuple[int, ...]:
    """Bytes of what is sent and answered."""
    over_redis = [traffic(redis, action) for action in (fleet.cold, fleet.bare, fleet.flush)]
    return (fleet.size, *over_redis[:2], len(fleet.warm()), len(fleet.metrics()), over_redis[2])


def without_asking(fleets: Sequence[Fleet], contents: Mapping[int, Families], rounds: int) -> Figures:
    """What asks no node and still reads or writes Redis, all sizes interleaved."""
    subjects: dict[tuple[str, int], Callable[[], object]] = {}
    for fleet in fleets:
        families = contents[fleet.size]
        subjects["metrics", fleet.size] = fleet.metrics
        subjects["encode", fleet.size] = lambda f=families: generate_latest(f)
        subjects["flush", fleet.size] = fleet.flush
    return interleaved(subjects, rounds)


def times(figures: Figures, contents: Mapping[int, Families]) -> Table:
    """The table of milliseconds, its chart and its goals."""
    least, most = min(contents), max(contents)

    def ratio(subject: str, size: int, base: str, base_size: int) -> float:
        return figures[subject, size].median / figures[base, base_size].median

    rows = [
        (
            size, figures["cold", size], figures["bare", size], ratio("cold", size, "bare", size),
            figures["warm", size], families.series, figures["metrics", size], figures["encode", size],
            ratio("metrics", size, "encode", size), figures["flush", size],
        )
        for size, families in contents.items()
    ]  # fmt: skip
    columns = (
        "nodes", "cold check", "bare drain", "times bare", "warm check", "series", "`/metrics`", "in memory",
        "times in memory", "flush",
    )  # fmt: skip
    goals = (
        at_most(f"Cold check of {most:,} nodes, times the bare drain", 1.3, ratio("cold", most, "bare", most)),
        at_most(f"Warm check of {most:,} nodes, times that of {least}", 1.2, ratio("warm", most, "warm", least)),
        at_most(
            f"`/metrics` with {most:,} nodes, times `generate_latest` of its series in memory",
            2.0, ratio("metrics", most, "encode", most),
        ),
    )  # fmt: skip
    return Table(
        "Scale: milliseconds, median (quartiles)", columns, rows, NOTES, {"latency-nodes.png": chart(figures)}, goals
    )


def chart(figures: Figures) -> dict[str, object]:
    """Health against nodes."""
    labels = {"cold": "health/, cold", "bare": "bare drain of the same replies", "warm": "health/, warm"}
    lines = {
        label: [(size, found.median) for (name, size), found in figures.items() if name == subject]
        for subject, label in labels.items()
    }
    return {"x": "nodes", "y": "milliseconds", "lines": lines}


if __name__ == "__main__":
    main(measure, __doc__)
