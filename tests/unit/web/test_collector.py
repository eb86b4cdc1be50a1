"""What hardly ever happens is answered all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from prometheus_client import CollectorRegistry, generate_latest

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.web.collector import CeleryCollector


def test_registering_the_collector_asks_nobody() -> None:
    """A registry that takes the collector does not even make the Celery app."""
    CollectorRegistry().register(CeleryCollector(CeleryHealth(lambda: pytest.fail("asked"), Settings())))


def test_queues_that_were_not_asked_for_are_not_read(make_app: Callable[..., Flask]) -> None:
    """While the application is still being made nothing is read, queues neither."""
    asking, ready = threading.Event(), threading.Event()

    def factory() -> Celery:
        asking.set()
        ready.wait(10)
        return Celery(broker="memory://", set_as_current=False)

    health = CeleryHealth(factory, Settings(timeout_seconds=0.2))
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
