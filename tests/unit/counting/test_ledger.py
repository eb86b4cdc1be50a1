"""The ledger: counters, histograms, caps of label values, and what ``take`` and ``copy`` return."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import pytest

from celery_health_bp.counting.ledger import MAX_EVENTS, OTHER, UNKNOWN, Ledger, Outcome
from celery_health_bp.counting.outcomes import COMPLETED, STARTED, outcome_of
from celery_health_bp.counts import MAX_ERROR_TYPES, Counts
from tests.support.error_types import counts_of, generated, number_of_types

FAILED = Outcome("failed", "KeyError")


@pytest.fixture
def ledger() -> Ledger:
    """A ledger with two bounds that keeps three customers and two error types."""
    return Ledger((0.1, 1.0), 3, 2)


# -- counting --


def test_each_event_adds_one_to_its_series(ledger: Ledger) -> None:
    """Kind, task, detail and customer select the counter."""
    for event in (
        (STARTED, "a", "x"),
        (STARTED, "a", "x"),
        (STARTED, "a", "y"),
        (STARTED, "b", "x"),
        (FAILED, "a", "x"),
    ):
        ledger.count(*event)
    assert ledger.take().counters == {
        ("started", "a", "", "x"): 2,
        ("started", "a", "", "y"): 1,
        ("started", "b", "", "x"): 1,
        ("failed", "a", "KeyError", "x"): 1,
    }


@pytest.mark.parametrize(
    ("seconds", "bound"), [(0.0, 0.1), (0.1, 0.1), (0.11, 1.0), (1.0, 1.0), (1.01, inf), (1e9, inf)]
)
def test_a_duration_is_observed_under_the_lowest_bound_that_holds_it(
    ledger: Ledger, seconds: float, bound: float
) -> None:
    """An upper bound is inclusive, and ``inf`` holds what exceeds the last one."""
    ledger.count(COMPLETED, "job", "x", seconds)
    histogram = ledger.take().histograms["duration", "job"]
    assert (histogram.buckets, histogram.sum_seconds) == ({bound: 1}, seconds)


def test_starts_are_observed_as_queue_wait(ledger: Ledger) -> None:
    """The seconds of a start go to another histogram than those of a completion; no seconds, no observation."""
    ledger.count(STARTED, "job", "x", 0.5)
    ledger.count(COMPLETED, "job", "x", 2.0)
    ledger.count(STARTED, "other", "x")
    found = ledger.take().histograms
    assert {key: histogram.sum_seconds for key, histogram in found.items()} == {
        ("queue_wait", "job"): 0.5,
        ("duration", "job"): 2.0,
    }


def test_internal_errors_are_counted_beside_the_attempts(ledger: Ledger) -> None:
    """An internal error is an event without a series."""
    for _ in range(2):
        ledger.internal_error()
    assert (ledger.events, ledger.take()) == (2, Counts(internal_errors=2))


def test_counts_of_all_threads_are_kept() -> None:
    """Four threads that count at once, past several aggregations, lose no event."""
    ledger = Ledger((1.0,), 10)

    def count(customer: str) -> None:
        for _ in range(MAX_EVENTS):
            ledger.count(COMPLETED, "job", customer, 0.5)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, "abcd"))
    found = ledger.take()
    assert found.counters == {("completed", "job", "", customer): MAX_EVENTS for customer in "abcd"}
    assert found.histograms["duration", "job"].buckets == {1.0: 4 * MAX_EVENTS}


def test_a_signal_handler_that_counts_during_an_aggregation_loses_no_event() -> None:
    """All events are counted, whatever code the handler interrupts and however many it adds."""
    ledger, handled, counted = Ledger((1.0,), 10), 0, 0

    def handle(*_: Any) -> None:
        nonlocal handled
        handled += 1
        for _ in range(MAX_EVENTS):
            ledger.count(COMPLETED, "task", "123", 0.5)
        if handled < 50:  # with endless interruptions a slow machine would never count its own events
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


# -- take and copy --


def test_take_empties_the_ledger(ledger: Ledger) -> None:
    """The second ``take`` returns nothing, and later events do not change what the first one returned."""
    ledger.count(STARTED, "job", "x")
    taken = ledger.take()
    ledger.count(STARTED, "job", "x")
    assert (taken.events, ledger.take().events, len(ledger.take()), ledger.events) == (1, 1, 0, 0)


def test_copy_leaves_the_counts_in_the_ledger(ledger: Ledger) -> None:
    """A copy is equal to what ``take`` returns next, and changing it changes nothing in the ledger."""
    ledger.count(COMPLETED, "job", "x", 0.5)
    ledger.internal_error()
    ledger.copy().histograms["duration", "job"].observe(0.5, (1.0,))
    ledger.copy().counters.clear()
    copied = ledger.copy()
    assert copied == ledger.take()
    assert (len(copied.counters), copied.histograms["duration", "job"].buckets) == (1, {1.0: 1})


@pytest.mark.parametrize("number", [1, MAX_EVENTS - 1, MAX_EVENTS, 2 * MAX_EVENTS + 1])
def test_events_is_the_number_since_the_last_take(number: int) -> None:
    """Events that wait for aggregation and aggregated ones are both included."""
    ledger = Ledger((1.0,), 10)
    for _ in range(number):
        ledger.count(STARTED, "job", "x")
    assert ledger.events == number
    ledger.take()
    assert ledger.events == 0


def test_the_queue_of_events_is_bounded() -> None:
    """At ``MAX_EVENTS`` the waiting events are aggregated: memory does not grow with the number of jobs."""
    ledger = Ledger((1.0,), 10)
    for _ in range(3 * MAX_EVENTS - 1):
        ledger.count(STARTED, "job", "x")
        assert len(ledger._events) < MAX_EVENTS


# -- caps of label values --


def test_customers_beyond_the_cap_count_as_other(ledger: Ledger) -> None:
    """The first three customers of a task keep their name; the caps of two tasks are separate."""
    for customer in ("a", "b", "c", "d", "e", "a"):
        ledger.count(STARTED, "job", customer)
    ledger.count(STARTED, "second", "e")
    found = {(task, customer): number for (_, task, _, customer), number in ledger.take().counters.items()}
    assert found == {
        ("job", "a"): 2,
        ("job", "b"): 1,
        ("job", "c"): 1,
        ("job", OTHER): 2,
        ("second", "e"): 1,
    }


def test_all_kinds_of_a_task_share_the_cap_of_customers(ledger: Ledger) -> None:
    """A customer that was ``other`` when its attempt started is ``other`` when it ends."""
    for customer in "abcd":
        ledger.count(STARTED, "job", customer)
    ledger.count(COMPLETED, "job", "d", 0.5)
    assert ledger.take().counters["completed", "job", "", OTHER] == 1


@pytest.mark.parametrize("value", ["", OTHER, UNKNOWN])
def test_attempts_without_a_customer_do_not_use_up_the_cap(ledger: Ledger, value: str) -> None:
    """The empty value, ``other`` and ``unknown`` leave room for three customers and keep their name beyond."""
    for customer in (value, "a", "b", "c", value):
        ledger.count(STARTED, "job", customer)
    assert ledger.take().counters["started", "job", "", value] == 2


def test_take_resets_the_caps(ledger: Ledger) -> None:
    """After ``take`` a customer that was beyond the cap keeps its name."""
    for customer in "abcd":
        ledger.count(STARTED, "job", customer)
    ledger.take()
    ledger.count(STARTED, "job", "d")
    assert list(ledger.take().counters) == [("started", "job", "", "d")]


def test_copy_does_not_reset_the_caps(ledger: Ledger) -> None:
    """A worker without a store, whose counts are only copied, keeps the names that it knows."""
    for customer in "abcd":
        ledger.count(STARTED, "job", customer)
    ledger.copy()
    ledger.count(STARTED, "job", "d")
    assert ledger.take().counters["started", "job", "", OTHER] == 2


def test_error_types_beyond_the_cap_count_as_other(ledger: Ledger) -> None:
    """Failures and retries of each task keep their first two error types; reasons have no cap."""
    for kind in ("failed", "retried", "aborted"):
        for detail in ("A", "B", "C", "A"):
            ledger.count(Outcome(kind, detail), "job", "x")
    found = {(kind, detail): number for (kind, _, detail, _), number in ledger.take().counters.items()}
    capped = {"A": 2, "B": 1, OTHER: 1}
    assert found == {
        **{("failed", detail): number for detail, number in capped.items()},
        **{("retried", detail): number for detail, number in capped.items()},
        **{("aborted", detail): number for detail, number in {"A": 2, "B": 1, "C": 1}.items()},
    }


def test_a_worker_without_a_store_keeps_one_hundred_error_types() -> None:
    """The first 100 error types keep their name, also when they come again; every further one is ``other``."""
    found = counts_of([*generated(range(2000)), *generated(range(50))], 1)
    assert number_of_types(found) == {"failed": MAX_ERROR_TYPES + 1, "retried": MAX_ERROR_TYPES + 1}
    assert found.counters["failed", "job", "Error49", "acme"] == 2
    assert found.counters["retried", "job", "other", "acme"] == 2000 - MAX_ERROR_TYPES


# -- text of label values --


def test_long_names_are_cut() -> None:
    """A class name and a task name of 1 MB each become the same short labels each time."""
    ledger = Ledger((1.0,), 10)
    error = type("E" * 1_000_000, (Exception,), {})()
    for _ in range(2):
        ledger.count(outcome_of(error), "t" * 1_000_000, "acme")
    assert ledger.take().counters == {("failed", "t" * 255, "E" * 64, "acme"): 2}


def test_nul_and_lone_surrogates_are_replaced() -> None:
    """An error type that arrived as text may hold any character."""
    ledger = Ledger((1.0,), 10)
    for _ in range(2):
        ledger.count(Outcome("failed", "Odd\0\ud800"), "job\0", "a")
    assert ledger.take().counters == {("failed", "job?", "Odd??", "a"): 2}


def test_a_histogram_has_the_cut_name_of_its_task() -> None:
    """Counter and histogram of a long task name carry the same label."""
    ledger = Ledger((1.0,), 10)
    for _ in range(2):
        ledger.count(COMPLETED, "t" * 300, "a", 0.5)
    found = ledger.take()
    assert found.histograms.keys() == {("duration", "t" * 255)}
    assert found.histograms["duration", "t" * 255].buckets == {1.0: 2}
