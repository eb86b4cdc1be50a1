"""From Celery's exceptions to a kind of count and its label."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from billiard.pool import MaybeEncodingError
from celery.exceptions import (
    Ignore,
    Reject,
    Retry,
    SoftTimeLimitExceeded,
    Terminated,
    TimeLimitExceeded,
    WorkerLostError,
)
from celery.utils.serialization import UnpickleableExceptionWrapper

from celery_health_bp.counting import outcomes
from celery_health_bp.counting.outcomes import outcome_of
from celery_health_bp.counts import COUNTERS, MAX_LABEL

OUTCOMES = [
    (KeyError("x"), "failed", "KeyError"),
    (SoftTimeLimitExceeded(), "failed", "SoftTimeLimitExceeded"),
    (TimeLimitExceeded(1), "failed", "TimeLimitExceeded"),
    (WorkerLostError("x"), "failed", "WorkerLostError"),
    (SystemExit(1), "failed", "WorkerLostError"),
    (KeyboardInterrupt(), "failed", "WorkerLostError"),
    (MemoryError(), "failed", "WorkerLostError"),
    (UnpickleableExceptionWrapper("jobs", "Unpicklable", ()), "failed", "Unpicklable"),
    (MaybeEncodingError("x", "<ExceptionInfo: Unpicklable('lock')>"), "failed", "Unpicklable"),
    (Retry(exc=KeyError("x")), "retried", "KeyError"),
    (Retry(), "retried", "Retry"),
    (Ignore(), "aborted", "ignored"),
    (Reject(requeue=False), "aborted", "rejected"),
    (Reject(requeue=True), "aborted", "requeued"),
    (Terminated(15), "aborted", "terminated"),
]


@pytest.mark.parametrize(("exc", "kind", "detail"), OUTCOMES, ids=[f"{exc!r:.30}" for exc, *_ in OUTCOMES])
def test_an_exception_has_its_outcome(exc: BaseException, kind: str, detail: str) -> None:
    """Each exception that ends an attempt is counted under one kind and one detail."""
    assert outcome_of(exc) == (kind, detail)


@pytest.mark.parametrize("wrapped", [lambda exc: exc, lambda exc: Retry(exc=exc)], ids=["failed", "retried"])
def test_a_long_class_name_is_cut(wrapped: Callable[[Exception], Exception]) -> None:
    """The error type has at most ``MAX_LABEL`` characters."""
    exc = wrapped(type("E" * 1000, (Exception,), {})())
    assert outcome_of(exc).detail == "E" * MAX_LABEL


def test_every_constant_has_a_known_kind() -> None:
    """The kinds of all fixed outcomes are counters, and only ``started`` and ``completed`` have no detail."""
    fixed = [value for value in vars(outcomes).values() if isinstance(value, outcomes.Outcome)]
    assert fixed
    for outcome in fixed:
        assert (COUNTERS[outcome.kind] is None) is (outcome.detail == ""), outcome
