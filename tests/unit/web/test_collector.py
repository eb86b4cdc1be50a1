"""The collector before the first check, and while the Celery app is not ready."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from prometheus_client import CollectorRegistry, generate_latest

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.web.collector import CeleryCollector


def test_registering_the_collector_does_no_work() -> None:
    """Registering the collector does not call the factory."""
    CollectorRegistry().register(CeleryCollector(CeleryHealth(lambda: pytest.fail("asked"), Settings())))


def test_queues_are_not_read_before_the_app_is_ready(make_app: Callable[..., Flask]) -> None:
    """A scrape while the factory runs reports that the queues could not be read."""
    asking, ready = threading.Event(), threading.Event()

    def factory() -> Celery:
        asking.set()
        ready.wait(10)
        return Celery(broker="memory://", set_as_current=False)

    health = CeleryHealth(factory, Settings(timeout_seconds=0.1))
    first = threading.Thread(target=health.check)
    first.start()
    try:
        assert asking.wait(10)
        text = generate_latest(CeleryCollector(health)).decode()  # type: ignore[arg-type]
    finally:
        ready.set()
        first.join(10)
        health.close()
    assert 'celery_health_scrape_success{source="queues"} 0.0' in text
