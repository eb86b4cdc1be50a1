"""One run at a time for all who ask, whatever becomes of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery

from celery_health_bp import CeleryHealth
from celery_health_bp.flight import SingleFlight


def test_an_error_of_the_work_reaches_who_asked_and_does_not_stay() -> None:
    """What the work raises is raised in the caller, and the next caller has a run of his own."""
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


def test_who_gives_up_does_not_end_the_run() -> None:
    """A caller whose time is over gets TimeoutError; the run goes on, and the next caller joins it."""
    go_on = threading.Event()
    flight = SingleFlight(lambda: go_on.wait(10))
    with pytest.raises(TimeoutError):
        flight.result(0.01)
    go_on.set()
    assert flight.result(10)[0] is True


def test_a_slow_factory_is_called_once_by_all_who_wait() -> None:
    """Two threads that need the Celery app at once get the same one."""
    calls: list[int] = []
    both = threading.Barrier(2)

    def factory() -> Celery:
        calls.append(1)
        entered.set()
        release.wait(10)
        return Celery("upstream", broker="memory://", set_as_current=False)

    entered, release = threading.Event(), threading.Event()
    health = CeleryHealth(factory)

    def ask() -> Celery:
        both.wait(10)
        return health.app

    with ThreadPoolExecutor(2) as pool:
        apps = [pool.submit(ask) for _ in range(2)]
        entered.wait(10)
        release.set()
        assert apps[0].result() is apps[1].result()
    assert calls == [1]
