"""Values of ``customer_id``: whatever a job carries, the exposition stays sound and bounded."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from celery.exceptions import Retry

from celery_health_bp.counting.ledger import MAX_EVENTS, Ledger
from celery_health_bp.counting.outcomes import COMPLETED, outcome_of
from celery_health_bp.counts import MAX_ERROR_TYPES, Counts


def generated(numbers: Iterable[int]) -> Iterator[BaseException]:
    """Exceptions, each of a class of its own."""
    return (type(f"Error{number}", (Exception,), {})() for number in numbers)


def counts_of(errors: Iterable[BaseException], factor: int) -> Counts:
    """What a process sends that fails with these, and then asks for a retry because of each."""
    ledger = Ledger((1.0,), 1000, MAX_ERROR_TYPES * factor)
    for error in errors:
        ledger.count(outcome_of(error), "job", "acme")
        ledger.count(outcome_of(Retry(exc=error)), "job", "acme")
    return ledger.take()


def number_of_types(counts: Counts) -> dict[str, int]:
    """Kind -> how many error types it has."""
    return dict(Counter(series.kind for series in counts.counters))


def test_the_number_of_error_types_is_capped_in_a_worker_without_a_store() -> None:
    """The types that come first keep their name, as often as they come; every further one is ``other``."""
    found = counts_of([*generated(range(2000)), *generated(range(50))], 1)
    assert number_of_types(found) == {"failed": MAX_ERROR_TYPES + 1, "retried": MAX_ERROR_TYPES + 1}
    assert found.counters["failed", "job", "Error49", "acme"] == 2
    assert found.counters["retried", "job", "other", "acme"] == 2000 - MAX_ERROR_TYPES


def test_a_signal_handler_that_counts_while_events_are_summed_up_loses_none() -> None:
    """Whatever a handler interrupts that counts more than may wait: every event is there."""
    ledger, handled, counted = Ledger((1.0,), 10), 0, 0

    def handle(*_: Any) -> None:
        nonlocal handled
        handled += 1
        for _ in range(MAX_EVENTS):
            ledger.count(COMPLETED, "task", "123", 0.5)
        if handled < 50:  # endless interruptions would leave a slow machine no time for its own events
            signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)

    before = signal.signal(signal.SIGVTALRM, handle)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.001)
    try:
        while handled < 50:
            ledger.count(COMPLETED, "task", "123", 0.5)
            counted += 1
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
    assert ledger.take().counters.total() == counted + handled * MAX_EVENTS


def test_long_names_are_cut() -> None:
    """A class name of 1 MB and a task name of 1 MB make short labels, the same ones each time."""
    ledger = Ledger((1.0,), 10)
    error = type("E" * 1_000_000, (Exception,), {})()
    for _ in range(2):
        ledger.count(outcome_of(error), "t" * 1_000_000, "acme")
    assert ledger.take().counters == {("failed", "t" * 255, "E" * 64, "acme"): 2}
