"""Fixtures of these tests: brokers, worker and web processes."""

from tests.support.brokers import (
    admin,
    app,
    celery_app,
    node,
    rabbit,
    rabbit_app,
    redis,
    redis_pair,
)
from tests.support.fleets import idle_fleet, idle_worker, start_web, start_worker, started

__all__ = [
    "admin",
    "app",
    "celery_app",
    "idle_fleet",
    "idle_worker",
    "node",
    "rabbit",
    "rabbit_app",
    "redis",
    "redis_pair",
    "start_web",
    "start_worker",
    "started",
]
