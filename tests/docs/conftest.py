"""Fixtures for brokers, worker and web processes."""

from tests.support.brokers import admin, app, celery_app, rabbit, redis
from tests.support.fleets import start_web, start_worker, started

__all__ = [
    "admin",
    "app",
    "celery_app",
    "rabbit",
    "redis",
    "start_web",
    "start_worker",
    "started",
]
