"""``CeleryHealth`` while its factory runs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from celery import Celery
from werkzeug.test import Client

from celery_health_bp import CeleryHealth, create_api_app, create_metrics_app
from tests.support.servers import free_port


def test_a_slow_factory_is_called_once_for_all_threads() -> None:
    """Two threads that need the Celery app at the same time get the same object."""
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


def test_checks_during_a_slow_factory_end_by_their_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one thread is inside the factory, checks and scrapes report by their deadline that the app is not ready."""
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


def test_a_check_inside_the_factory_does_not_deadlock() -> None:
    """A factory that checks its own health gets the report that the app is not ready yet."""
    verdicts: list[str | None] = []

    def factory() -> Celery:
        verdicts.append(health.check().error)
        return Celery("upstream", broker="memory://", set_as_current=False)

    health = CeleryHealth(factory)
    assert health.app.main == "upstream"
    assert verdicts == ["The Celery app is not ready yet"]
