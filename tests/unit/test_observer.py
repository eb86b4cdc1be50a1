"""A check that exceeds its deadline."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from celery import Celery
from celery.app.amqp import AMQP

from celery_health_bp import CeleryHealth, Settings
from celery_health_bp.report import Observation


def test_an_overdue_check_does_not_wait_for_locks_of_celery() -> None:
    """A check returns the names of the queues while another thread holds the lock of ``app.amqp.queues``."""
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
