"""Fixtures of these tests: a broker each, no process of Celery's."""

from tests.support.brokers import admin, app, celery_app, rabbit, rabbit_node, redis

__all__ = ["admin", "app", "celery_app", "rabbit", "rabbit_node", "redis"]
