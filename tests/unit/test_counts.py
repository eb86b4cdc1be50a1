"""Many series: batches that leave Redis time for others, and a scrape that is whole or fails in time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celery_health_bp.counting.ledger import Ledger, Outcome
from celery_health_bp.counts import Counts, Histogram, Series

sizes = st.integers(min_value=0, max_value=40)


@settings(deadline=None)  # a busy machine is no fault
@given(counters=sizes, bounds=st.lists(sizes, max_size=4), errors=st.integers(0, 1), size=st.integers(2, 20))
def test_parts_are_small_and_make_the_whole(counters: int, bounds: list[int], errors: int, size: int) -> None:
    """Whatever was counted, no part has more numbers than asked for, and together they are all of it."""
    counts = Counts(internal_errors=errors)
    for number in range(counters):
        counts.counters[Series("started", "job", "", str(number))] = number + 1
    for task, number in enumerate(bounds):
        histogram = counts.histograms["duration", str(task)] = Histogram()
        for seconds in range(number + 1):
            histogram.observe(seconds, range(50))
    together = Counts()
    for part in counts.parts(size):
        assert 0 < len(part) <= size
        together.internal_errors += part.internal_errors
        together.counters += part.counters
        for (name, task_name), histogram in part.histograms.items():
            found = together.histogram(name, task_name)
            found.buckets += histogram.buckets
            found.sum_seconds += histogram.sum_seconds
    assert together == counts


FINE = Counts(internal_errors=2)
FINE.counters[Series("started", "job", "", "a")] = 5
FINE.histograms["duration", "job"] = Histogram(Counter({0.1: 1, float("inf"): 2}), 61.5)

#: Rows of a reply in the place of one that is fine.
ODD_ROWS: dict[str, tuple[str, Any]] = {
    "no row": ("counters", 7),
    "too short": ("counters", ["started", "job", 1]),
    "too long": ("counters", ["started", "job", "", "a", "b", 1]),
    "a name that is none": ("counters", ["started", None, "", "a", 1]),
    "a name with NUL": ("counters", ["started", "jo\0b", "", "a", 1]),
    "a lone surrogate": ("counters", ["started", "job", "", "\ud800", 1]),
    "no number": ("counters", ["started", "job", "", "b", None]),
    "not a number": ("counters", ["started", "job", "", "b", float("nan")]),
    "below zero": ("counters", ["started", "job", "", "b", -1]),
    "an endless number": ("counters", ["started", "job", "", "b", float("inf")]),
    "an endless sum": ("sums", ["queue_wait", "job", float("inf")]),
    "a bound that is none": ("buckets", ["queue_wait", "job", "often", 1]),
    "a huge number": ("buckets", ["queue_wait", "job", "0.1", 10**400]),
}


@pytest.mark.parametrize("case", ODD_ROWS)
def test_an_odd_row_of_a_reply_is_left_out_and_counted(case: str) -> None:
    """A worker's reply with one row that cannot be read loses that row alone."""
    name, row = ODD_ROWS[case]
    rows = FINE.to_rows()
    rows[name].append(row)
    assert Counts.from_rows(rows) == replace(FINE, unreadable=1)


def test_a_histogram_is_shown_whole_or_not_at_all() -> None:
    """With one bucket that cannot be read a histogram is left out: its other numbers would be wrong together."""
    rows = FINE.to_rows()
    rows["buckets"][0][3] = "x"
    assert Counts.from_rows(rows) == Counts(FINE.counters, {}, 2, unreadable=1)


def test_series_are_read_back_as_they_were_counted() -> None:
    """What a ledger counted comes back from its rows the same."""
    ledger = Ledger((0.1, 1.0), 10)
    for seconds in (0.05, 0.5, 5.0):
        ledger.count(Outcome("completed"), "job", "a", seconds)
    ledger.internal_error()
    assert Counts.from_rows(ledger.copy().to_rows()) == ledger.take()
