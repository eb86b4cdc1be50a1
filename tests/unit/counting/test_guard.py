"""The guard that keeps our exceptions away from jobs."""

from __future__ import annotations

import pytest
from celery.exceptions import WorkerShutdown
from gevent import GreenletExit

from celery_health_bp.counting.guard import never_raises


class Guarded:
    """Records how often an internal error was recorded."""

    errors = 0

    def record_internal_error(self) -> None:
        """Count the call."""
        self.errors += 1

    @never_raises
    def call(self, outcome: BaseException | str) -> str:
        """Raise or return the argument."""
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def test_a_guarded_method_returns_its_result() -> None:
    """Without an exception the guard changes nothing."""
    guarded = Guarded()
    assert (guarded.call("done"), guarded.errors, Guarded.call.__name__) == ("done", 0, "call")


def test_an_exception_is_recorded_and_not_raised() -> None:
    """Each exception is recorded once, and the result is ``None``."""
    guarded = Guarded()
    assert (guarded.call(KeyError("x")), guarded.errors) == (None, 1)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, WorkerShutdown, GreenletExit])
def test_shutdown_exceptions_are_raised(error: type[BaseException]) -> None:
    """A ``BaseException`` that is no ``Exception`` passes and is not recorded."""
    guarded = Guarded()
    with pytest.raises(error):
        guarded.call(error())
    assert guarded.errors == 0
