"""Counts of one process: outcomes and durations of attempts. Pure, no I/O.

An *attempt* is one run of a task. The law of attempts, at rest and for each
task and customer: ``started = completed + failed + retried + aborted``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from threading import RLock
from typing import NamedTuple

from ..counts import (
    COUNTERS,
    HISTOGRAM_OF,
    MAX_ERROR_TYPES,
    MAX_LABEL,
    MAX_TASK_NAME,
    Counts,
    Histogram,
    Series,
    label_text,
)

#: So many events wait at most to be summed up; an attempt is two of them.
MAX_EVENTS = 1000

#: Label value of customers and error types beyond their caps, and of attempts without a customer.
OTHER, UNKNOWN = "other", "unknown"
UNCAPPED = frozenset({"", OTHER, UNKNOWN})


class Outcome(NamedTuple):
    """What an attempt did: a key of ``COUNTERS``, and the error type or the reason."""

    kind: str
    detail: str = ""


class Ledger:
    """Counts of one process; every method may be called from any thread.

    Counting an event only puts it down: a worker between two jobs has cold
    caches, and summing up many events at once takes a fraction of the time.

    Arguments:
        bounds: upper bounds of the histograms in seconds, rising.
        max_customers: most customers per task that are held at once; every
            further one counts as ``other``. ``take`` starts anew.
        max_error_types: the same of error types per task and kind.
    """

    def __init__(self, bounds: Sequence[float], max_customers: int, max_error_types: int = MAX_ERROR_TYPES) -> None:
        self._bounds = bounds
        self._max_customers = max_customers
        self._max_error_types = max_error_types
        self._events: deque[tuple[Outcome, str, str, float | None]] = deque()
        self._counts = Counts()
        #: What is capped -> the values that keep their name.
        self._known: dict[str | tuple[str, str], set[str]] = {}
        # Celery counts from signal handlers too, which may interrupt the holder of this lock.
        self._lock = RLock()
        self._summing_up = False

    def count(self, outcome: Outcome, task_name: str, customer_id: str, seconds: float | None = None) -> None:
        """Add one to a counter.

        Arguments:
            task_name: the registered name.
            seconds: what the histogram of this kind observes besides (see ``HISTOGRAM_OF``).
        """
        self._events.append((outcome, task_name, customer_id, seconds))
        if len(self._events) >= MAX_EVENTS:
            self._sum_up()

    @property
    def events(self) -> int:
        """How many events were counted since the last ``take``."""
        with self._lock:
            return len(self._events) + self._counts.events

    def internal_error(self) -> None:
        """Count an exception of our own code."""
        with self._lock:
            self._counts.internal_errors += 1

    def take(self) -> Counts:
        """All counts since the last ``take``; they are the caller's from now on."""
        with self._lock:
            if self._summing_up:  # interrupted by a signal handler, and not done with them: the next one gets all
                return Counts()
            self._sum_up()
            taken, self._counts, self._known = self._counts, Counts(), {}
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
            if self._summing_up:  # a signal handler has interrupted this very loop, which goes on with its events
                return
            self._summing_up = True
            try:
                self._add_events()
            finally:
                self._summing_up = False

    def _add_events(self) -> None:
        counters = self._counts.counters
        while self._events:
            (kind, detail), task_name, customer_id, seconds = self._events.popleft()
            customer_id = self._capped(task_name, customer_id, self._max_customers)
            series = Series(kind, task_name, detail, customer_id)
            number = counters.get(series)
            if number is None:  # seen for the first time, or its name cannot be kept
                series = self._shown(series)
                number = counters[series]
            counters[series] = number + 1
            if seconds is not None:
                self._counts.histogram(HISTOGRAM_OF[kind], series.task_name).observe(seconds, self._bounds)

    def _shown(self, series: Series) -> Series:
        """The series with names that are sound, short and few."""
        kind, task_name, detail, customer_id = series
        task_name, detail = label_text(task_name, MAX_TASK_NAME), label_text(detail, MAX_LABEL)
        if COUNTERS[kind] == "error_type":
            detail = self._capped((kind, task_name), detail, self._max_error_types)
        return Series(kind, task_name, detail, customer_id)

    def _capped(self, group: str | tuple[str, str], value: str, limit: int) -> str:
        if value in UNCAPPED:
            return value
        known = self._known.setdefault(group, set())
        if value not in known:
            if len(known) >= limit:
                return OTHER
            known.add(value)
        return value
