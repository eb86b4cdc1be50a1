"""One run at a time for all who ask, whatever becomes of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from celery.app.amqp import AMQP
from werkzeug.test import Client

from celery_health_bp import CeleryHealth, Settings, create_api_app, create_metrics_app
from celery_health_bp.asking.single_flight import SingleFlight
from celery_health_bp.report import Observation
from tests.support.servers import free_port


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


def test_an_overdue_check_waits_for_no_lock_of_celery() -> None:
    """A check comes back, with the names of the queues, while another thread reads the app's queues without end."""
    app = Celery("upstream", broker="memory://", set_as_current=False)
    health = CeleryHealth(app, Settings(timeout_seconds=0.2, cache_seconds=0))
    health.check()
    reading, release, checked = threading.Event(), threading.Event(), threading.Event()
    found: list[Observation] = []

    def read() -> None:
        with vars(AMQP)["queues"].lock:
            reading.set()
            release.wait(10)

    def observe() -> None:
        found.append(health.observe())
        checked.set()

    with ThreadPoolExecutor(2) as pool:
        pool.submit(read)
        reading.wait(10)
        pool.submit(observe)
        came_back = checked.wait(5)
        release.set()
    assert came_back
    assert [list(observation.queues) for observation in found] == [["celery"]]
    health.close()


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


def test_who_waits_for_a_slow_factory_gets_an_answer_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread is inside the factory, others are told by their deadline that the app is not ready."""
    entered, release = threading.Event(), threading.Event()

    def factory() -> Celery:
        entered.set()
        release.wait(20)
        return Celery("upstream", broker=f"redis://127.0.0.1:{free_port()}/0", set_as_current=False)

    monkeypatch.setenv("CELERY_HEALTH_TIMEOUT_SECONDS", "0.1")
    health = CeleryHealth(factory)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(health.check)
        entered.wait(10)
        report = health.check()
        answers = [Client(create_api_app(health)).get("/tasks/"), Client(create_metrics_app(health)).get("/")]
        release.set()
        assert "refused the connection" in str(first.result().error)
    assert (report.status, report.error) == ("unhealthy", "The Celery app was not ready in time")
    assert [(found.status_code, found.get_json()["error"]["code"]) for found in answers] == [
        (503, "deadline_exceeded")
    ] * 2


def test_a_factory_that_asks_for_its_own_app_is_told_so() -> None:
    """It gets a verdict, not a deadlock."""
    verdicts: list[str | None] = []

    def factory() -> Celery:
        verdicts.append(health.check().error)
        return Celery("upstream", broker="memory://", set_as_current=False)

    health = CeleryHealth(factory)
    assert health.app.main == "upstream"
    assert verdicts == ["The Celery app is not ready yet"]
