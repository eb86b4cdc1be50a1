"""All callers share one run at a time."""

from __future__ import annotations

import threading

import pytest

from celery_health_bp.asking.single_flight import SingleFlight


def test_an_error_is_raised_in_the_caller_and_not_kept() -> None:
    """The caller gets the exception of the work; the next caller starts a new run."""
    results: list[BaseException | str] = [KeyError("first"), "second"]

    def work() -> str:
        result = results.pop(0)
        if isinstance(result, BaseException):
            raise result
        return result

    flight = SingleFlight(work)
    with pytest.raises(KeyError, match="first"):
        flight.result(10)
    assert flight.result(10) == ("second", True)


def test_a_timeout_of_a_caller_does_not_end_the_run() -> None:
    """The caller gets TimeoutError; the run goes on, and the next caller joins it."""
    go_on = threading.Event()
    flight = SingleFlight(lambda: go_on.wait(10))
    with pytest.raises(TimeoutError):
        flight.result(0.01)
    go_on.set()
    assert flight.result(10)[0] is True
