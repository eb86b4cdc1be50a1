"""Counts the attempts of one process: outcomes, durations, times in the queue. No I/O.

An *attempt* is one run of a task. The accounting invariant, at rest and for each
task and customer: ``started = completed + failed + retried + aborted``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from threading import RLock
from typing import Any, NamedTuple

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

#: Events are aggregated when this many wait; an attempt is two events.
MAX_EVENTS = 1000

#: Label value of customers and error types beyond their caps, and of attempts without a customer.
OTHER, UNKNOWN = "other", "unknown"
UNCAPPED = frozenset({"", OTHER, UNKNOWN})


class Outcome(NamedTuple):
    """Start or end of an attempt: a key of ``COUNTERS``, and the error type or the reason."""

    kind: str
    detail: str = ""


class Ledger:
    """Counts of one process; every method may be called from any thread.

    ``count()`` only appends; events are aggregated in batches. That takes a
    fraction of the time, because a worker between two jobs has cold caches.

    Arguments:
        bounds: upper bounds of the histograms in seconds, ascending.
        max_customers: most customers per task that keep their name between two
            calls of ``take``; the others count as ``other``.
        max_error_types: the same for error types per task and kind.
    """

    def __init__(self, bounds: Sequence[float], max_customers: int, max_error_types: int = MAX_ERROR_TYPES) -> None:
        self._bounds = bounds
        self._max_customers = max_customers
        self._max_error_types = max_error_types
        self._events: deque[tuple[Outcome, str, str, float | None]] = deque()
        self._counts = Counts()
        #: Task, or kind and task -> its customers, or its error types, that keep their name.
        self._known: dict[str | tuple[str, str], set[str]] = {}
        # Reentrant: Celery counts from signal handlers too, which may interrupt the thread that holds it.
        self._lock = RLock()
        self._is_aggregating = False

    def count(self, outcome: Outcome, task_name: str, customer_id: str, seconds: float | None = None) -> None:
        """Add one to a counter.

        Arguments:
            outcome: selects the counter.
            task_name: the registered name.
            customer_id: value of the label.
            seconds: observation for the histogram of this kind (``HISTOGRAM_OF``), if any.
        """
        self._events.append((outcome, task_name, customer_id, seconds))
        if len(self._events) >= MAX_EVENTS:
            self._aggregate()

    @property
    def events(self) -> int:
        """Number of events since the last ``take``."""
        with self._lock:
            return len(self._events) + self._counts.events

    def internal_error(self) -> None:
        """Count an exception in this package."""
        with self._lock:
            self._counts.internal_errors += 1

    def take(self) -> Counts:
        """Return all counts since the last ``take``, and start again from zero."""
        with self._lock:
            if self._is_aggregating:  # a signal handler interrupted it: the next call returns everything
                return Counts()
            self._aggregate()
            taken, self._counts, self._known = self._counts, Counts(), {}
        return taken

    def copy(self) -> Counts:
        """Return a copy of all counts since the last ``take``."""
        with self._lock:
            self._aggregate()
            histograms = {
                key: Histogram(Counter(found.buckets), found.sum_seconds)
                for key, found in self._counts.histograms.items()
            }
            return Counts(Counter(self._counts.counters), histograms, self._counts.internal_errors)

    def _aggregate(self) -> None:
        with self._lock:
            if self._is_aggregating:  # a signal handler interrupted this loop, which then adds the handler's events too
                return
            self._is_aggregating = True
            try:
                self._add_events()
            finally:
                self._is_aggregating = False

    def _add_events(self) -> None:
        counters: Counter[Any] = self._counts.counters
        while self._events:
            (kind, detail), task_name, customer_id, seconds = self._events.popleft()
            customer_id = self._capped(task_name, customer_id, self._max_customers)
            series = kind, task_name, detail, customer_id  # finds a Series, and is made in a fraction of its time
            number = counters.get(series)
            if number is None:  # not seen before, or under a name that has to be changed
                series = self._cleaned(*series)
                number = counters[series]
            counters[series] = number + 1
            if seconds is not None:
                self._counts.histogram(HISTOGRAM_OF[kind], series[1]).observe(seconds, self._bounds)

    def _cleaned(self, kind: str, task_name: str, detail: str, customer_id: str) -> Series:
        """Return the series with valid, short names, and ``other`` for an error type beyond the cap."""
        task_name, detail = label_text(task_name, MAX_TASK_NAME), label_text(detail, MAX_LABEL)
        if COUNTERS[kind] == "error_type":
            detail = self._capped((kind, task_name), detail, self._max_error_types)
        return Series(kind, task_name, detail, customer_id)

    def _capped(self, group: str | tuple[str, str], value: str, limit: int) -> str:
        """Return the value, or ``other`` if its group has ``limit`` other values already."""
        if value in UNCAPPED:
            return value
        known = self._known.get(group)
        if known is None:
            known = self._known[group] = set()
        if value not in known:
            if len(known) >= limit:
                return OTHER
            known.add(value)
        return value
