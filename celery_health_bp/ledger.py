"""Counts of one process: outcomes and durations of attempts. Pure, no I/O.

An *attempt* is one run of a task. The law of attempts, at rest and for each
task and customer: ``started = completed + failed + retried + aborted``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, NamedTuple

#: Kind of count -> name of its label besides task_name and customer_id.
COUNTERS: dict[str, str | None] = {
    "started": None,
    "completed": None,
    "failed": "error_type",
    "retried": "error_type",
    "aborted": "reason",
    "discarded": "reason",
}
#: Kind of count -> the histogram that observes its seconds.
HISTOGRAM_OF = {"completed": "duration", "started": "queue_wait"}
HISTOGRAMS = tuple(HISTOGRAM_OF.values())

#: So many events wait at most to be summed up; an attempt is two of them.
MAX_EVENTS = 1000

#: Key that a worker with this package adds to its ``stats`` reply.
STATS_KEY = "celery_health"

#: Label value of customers beyond ``max_customers``, and of attempts without one.
OTHER, UNKNOWN = "other", "unknown"
UNCAPPED = frozenset({"", OTHER, UNKNOWN})


class Outcome(NamedTuple):
    """What an attempt did: a key of ``COUNTERS``, and the error type or the reason."""

    kind: str
    detail: str = ""


class Series(NamedTuple):
    """One counter: ``detail`` is the error type or the reason, or empty."""

    kind: str
    task_name: str
    detail: str
    customer_id: str


@dataclass
class Histogram:
    """Observations per upper bound in seconds (``inf`` is the last), and their sum."""

    buckets: Counter[float] = field(default_factory=Counter)
    sum_seconds: float = 0.0

    def observe(self, seconds: float, bounds: Sequence[float]) -> None:
        """Count one observation under the lowest bound that holds it."""
        index = bisect_left(bounds, seconds)
        self.buckets[bounds[index] if index < len(bounds) else float("inf")] += 1
        self.sum_seconds += seconds


@dataclass
class Counts:
    """What was counted: a worker's since its last flush, or a whole fleet's."""

    counters: Counter[Series] = field(default_factory=Counter)
    histograms: dict[tuple[str, str], Histogram] = field(default_factory=dict)
    internal_errors: int = 0

    def __bool__(self) -> bool:
        return bool(self.counters or self.histograms or self.internal_errors)

    def to_rows(self) -> dict[str, list[list[Any]]]:
        """As plain lists, for a reply in JSON."""
        return {
            "counters": [[*series, number] for series, number in self.counters.items()],
            "buckets": [
                [*key, repr(bound), number]
                for key, found in self.histograms.items()
                for bound, number in found.buckets.items()
            ],
            "sums": [[*key, found.sum_seconds] for key, found in self.histograms.items()],
            "internal_errors": [[self.internal_errors]],
        }

    @classmethod
    def from_rows(cls, rows: Mapping[str, list[list[Any]]]) -> Counts:
        """The counts of ``to_rows``."""
        counts = cls(internal_errors=rows["internal_errors"][0][0])
        for *series, number in rows["counters"]:
            counts.counters[Series(*series)] = number
        for name, task, seconds in rows["sums"]:
            counts.histograms[name, task] = Histogram(sum_seconds=seconds)
        for name, task, bound, number in rows["buckets"]:
            counts.histograms[name, task].buckets[float(bound)] = number
        return counts


class Ledger:
    """Counts of one process; every method may be called from any thread.

    Counting an event only puts it down: a worker between two jobs has cold
    caches, and summing up many events at once takes a fraction of the time.

    Arguments:
        bounds: upper bounds of the histograms in seconds, rising.
        max_customers: most customers per task that are held at once; every
            further one counts as ``other``. ``take`` starts anew.
    """

    def __init__(self, bounds: Sequence[float], max_customers: int) -> None:
        self._bounds = bounds
        self._max_customers = max_customers
        self._events: deque[tuple[Outcome, str, str, float | None]] = deque()
        self._counts = Counts()
        self._customers: dict[str, set[str]] = {}
        # Celery counts from signal handlers too, which may interrupt the holder of this lock.
        self._lock = RLock()

    def count(self, outcome: Outcome, task_name: str, customer_id: str, seconds: float | None = None) -> None:
        """Add one to a counter.

        Arguments:
            task_name: the registered name.
            seconds: what the histogram of this kind observes besides (see ``HISTOGRAM_OF``).
        """
        self._events.append((outcome, task_name, customer_id, seconds))
        if len(self._events) >= MAX_EVENTS:
            self._sum_up()

    def internal_error(self) -> None:
        """Count an exception of our own code."""
        with self._lock:
            self._counts.internal_errors += 1

    def take(self) -> Counts:
        """All counts since the last ``take``; they are the caller's from now on."""
        with self._lock:
            self._sum_up()
            taken, self._counts, self._customers = self._counts, Counts(), {}
        return taken

    def copy(self) -> Counts:
        """All counts since the last ``take``, which stay here as well."""
        with self._lock:
            self._sum_up()
            histograms = {
                key: Histogram(Counter(found.buckets), found.sum_seconds)
                for key, found in self._counts.histograms.items()
            }
            return Counts(Counter(self._counts.counters), histograms, self._counts.internal_errors)

    def _sum_up(self) -> None:
        with self._lock:
            while self._events:
                (kind, detail), task_name, customer_id, seconds = self._events.popleft()
                series = Series(kind, task_name, detail, self._capped(task_name, customer_id))
                self._counts.counters[series] += 1
                if seconds is not None:
                    self._histogram(HISTOGRAM_OF[kind], task_name).observe(seconds, self._bounds)

    def _histogram(self, name: str, task_name: str) -> Histogram:
        found = self._counts.histograms.get((name, task_name))
        if found is None:
            found = self._counts.histograms[name, task_name] = Histogram()
        return found

    def _capped(self, task_name: str, customer_id: str) -> str:
        if customer_id in UNCAPPED:
            return customer_id
        known = self._customers.setdefault(task_name, set())
        if customer_id not in known:
            if len(known) >= self._max_customers:
                return OTHER
            known.add(customer_id)
        return customer_id
