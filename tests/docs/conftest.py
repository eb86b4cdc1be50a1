"""Fixtures for brokers, worker and web processes."""

from tests.support.brokers import admin, app, celery_app, rabbit, rabbit_node, redis
from tests.support.fleets import start_web, start_worker, started

__all__ = [
    "admin",
    "app",
    "celery_app",
    "rabbit",
    "rabbit_node",
    "redis",
    "start_web",
    "start_worker",
    "started",
]
