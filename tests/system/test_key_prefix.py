"""``global_keyprefix``, which lets applications share a Redis database, applies to all our keys."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from tests.support.client_apps import PREFIX, prefixed_app
from tests.support.probes import probe
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer


def test_lengths_are_those_under_the_prefix(
    redis: RedisServer, start_worker: Callable[..., Worker], make_app: Callable[..., Flask]
) -> None:
    """1,500 messages of two priorities make the status degraded with their number, and every key has the prefix."""
    start_worker(
        redis.url,
        "-Q",
        "elsewhere",
        app="tests.support.apps.tenant_jobs:app",
        pool="solo",
        environ={"TENANT_KEY_PREFIX": PREFIX, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"},
        ready=False,
    )
    with prefixed_app(redis.url) as celery_app:
        wait_until(lambda: celery_app.control.ping(timeout=0.5), "the worker answers")
        celery_app.send_task("tenant.work", queue="elsewhere")
        with celery_app.producer_pool.acquire(block=True) as producer:
            for number in range(1500):
                producer.publish({}, routing_key="celery", priority=9 * (number % 2))
        app = make_app(celery_app, cache_seconds=0)
        found = probe(app)
        assert (found.status, found.body["status"], found.workers) == (200, "degraded", ["worker1@testhost"])
        assert found.body["queues"] == {"celery": 1500, "elsewhere": 0}
        metrics = app.test_client()
        wait_until(lambda: 'completed_total{customer_id="acme"' in metrics.get("/metrics").text, "the job is counted")
        keys = {str(key, "latin-1") for key in redis.client().scan_iter()}
        assert {key for key in keys if not key.startswith(PREFIX)} == set()
        assert f"{PREFIX}{{celery_health}}:totals" in keys
