"""Fixtures of these tests: one broker or store each, and no process of Celery."""

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

__all__ = [
    "admin",
    "app",
    "celery_app",
    "node",
    "rabbit",
    "rabbit_app",
    "redis",
    "redis_pair",
]
