"""Many generated exception classes, counted as failures and retries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from celery.exceptions import Retry

from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.outcomes import outcome_of
from celery_health_bp.counts import MAX_ERROR_TYPES, Counts


def generated(numbers: Iterable[int]) -> Iterator[BaseException]:
    """Yield one exception per number, each of a new class."""
    return (type(f"Error{number}", (Exception,), {})() for number in numbers)


def counts_of(errors: Iterable[BaseException], factor: int) -> Counts:
    """Return the counts of a process whose task fails with each error, and retries because of each.

    Arguments:
        factor: multiplies the cap of error types.
    """
    ledger = Ledger((1.0,), 1000, MAX_ERROR_TYPES * factor)
    for error in errors:
        ledger.count(outcome_of(error), "job", "acme")
        ledger.count(outcome_of(Retry(exc=error)), "job", "acme")
    return ledger.take()


def number_of_types(counts: Counts) -> dict[str, int]:
    """Return kind -> number of error types."""
    return dict(Counter(series.kind for series in counts.counters))
