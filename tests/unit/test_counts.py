"""Counts: split into parts, written as rows, and read back from untrusted rows."""

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


@settings(deadline=None)
@given(counters=sizes, bounds=st.lists(sizes, max_size=4), errors=st.integers(0, 1), size=st.integers(2, 20))
def test_parts_are_small_and_add_up(counters: int, bounds: list[int], errors: int, size: int) -> None:
    """No part has more numbers than ``size``, and the sum of the parts equals the counts."""
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

#: Malformed rows, added to those of ``FINE``.
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
def test_an_unreadable_row_is_left_out_and_counted(case: str) -> None:
    """One unreadable row is skipped; all other rows are kept."""
    name, row = ODD_ROWS[case]
    rows = FINE.to_rows()
    rows[name].append(row)
    assert Counts.from_rows(rows) == replace(FINE, unreadable=1)


def test_a_histogram_with_an_unreadable_bucket_is_left_out() -> None:
    """The other buckets of such a histogram would make wrong quantiles, so none is kept."""
    rows = FINE.to_rows()
    rows["buckets"][0][3] = "x"
    assert Counts.from_rows(rows) == Counts(FINE.counters, {}, 2, unreadable=1)


def test_counts_are_equal_after_to_rows_and_from_rows() -> None:
    """``from_rows`` of ``to_rows`` equals the original counts."""
    ledger = Ledger((0.1, 1.0), 10)
    for seconds in (0.05, 0.5, 5.0):
        ledger.count(Outcome("completed"), "job", "a", seconds)
    ledger.internal_error()
    assert Counts.from_rows(ledger.copy().to_rows()) == ledger.take()
