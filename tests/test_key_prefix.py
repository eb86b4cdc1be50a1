"""``global_keyprefix``, with which several applications share one Redis database, holds for all that is ours."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp.asking import reply_queue

from .nodes import ScriptedNode
from .probes import probe
from .processes import Worker, wait_until
from .servers import RedisServer

PREFIX = "tenant:"


def tenant(broker_url: str) -> Celery:
    """A client of the workers of ``tests.tenant_jobs``, with their prefix."""
    app = Celery("tenant", broker=broker_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": PREFIX}
    return app


def test_lengths_are_those_under_the_prefix(
    redis: RedisServer, start_worker: Callable[..., Worker], make_app: Callable[..., Flask]
) -> None:
    """1,500 messages of two priorities that nobody takes: degraded, with their number; every key has the prefix."""
    start_worker(
        redis.url,
        "-Q",
        "elsewhere",
        app="tests.tenant_jobs:app",
        pool="solo",
        environ={"TENANT_KEY_PREFIX": PREFIX, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"},
        ready=False,
    )
    with tenant(redis.url) as celery_app:
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


def test_abandoned_reply_queues_go_under_the_prefix(redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """What a killed process left under the prefix is deleted by the next check, and ours when it ends."""
    name = reply_queue.new_name(time.time() + 3600, "reply.celery.pidbox")
    reply_queue.abandon(name)
    left = name.replace(f".{os.getpid()}.", f".{2**22 + 1}.")
    redis.client().sadd(f"{PREFIX}_kombu.binding.reply.celery.pidbox", "\x06\x16".join((left, "", left)))
    redis.client().lpush(f"{PREFIX}{left}", "reply")
    with tenant(redis.url) as celery_app, ScriptedNode(celery_app, "a@t"):
        assert probe(make_app(celery_app)).status == 200
        bindings = redis.client().smembers(f"{PREFIX}_kombu.binding.reply.celery.pidbox")
    assert not any(left.encode() in member for member in bindings)
    assert not redis.client().exists(f"{PREFIX}{left}")


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_an_empty_queue_is_empty(prefix: str, redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """A queue that has no key in Redis has the length 0, with and without a prefix."""
    with Celery("tenant", broker=redis.url, set_as_current=False) as celery_app:
        celery_app.conf.broker_transport_options = {"global_keyprefix": prefix}
        with ScriptedNode(celery_app, "a@t"):
            assert probe(make_app(celery_app)).body["queues"] == {"celery": 0}
