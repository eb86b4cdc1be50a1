"""``global_keyprefix``, with which several applications share one Redis database."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp.asking import reply_queue
from tests.support.client_apps import PREFIX, prefixed_app
from tests.support.nodes import ScriptedNode
from tests.support.probes import probe
from tests.support.servers import RedisServer


def test_abandoned_reply_queues_are_deleted_under_the_prefix(
    redis: RedisServer, make_app: Callable[..., Flask]
) -> None:
    """A check deletes the reply queue and the binding that a killed process has left under the prefix."""
    name = reply_queue.new_name(time.time() + 3600, "reply.celery.pidbox")
    reply_queue.abandon(name)
    left = name.replace(f".{os.getpid()}.", f".{2**22 + 1}.")
    redis.client().sadd(f"{PREFIX}_kombu.binding.reply.celery.pidbox", "\x06\x16".join((left, "", left)))
    redis.client().lpush(f"{PREFIX}{left}", "reply")
    with prefixed_app(redis.url) as celery_app, ScriptedNode(celery_app, "a@t"):
        assert probe(make_app(celery_app)).status == 200
        bindings = redis.client().smembers(f"{PREFIX}_kombu.binding.reply.celery.pidbox")
    assert not any(left.encode() in member for member in bindings)
    assert not redis.client().exists(f"{PREFIX}{left}")


@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_an_empty_queue_has_the_length_0(prefix: str, redis: RedisServer, make_app: Callable[..., Flask]) -> None:
    """A queue without a key in Redis has the length 0, with and without a prefix."""
    with Celery("tenant", broker=redis.url, set_as_current=False) as celery_app:
        celery_app.conf.broker_transport_options = {"global_keyprefix": prefix}
        with ScriptedNode(celery_app, "a@t"):
            assert probe(make_app(celery_app)).body["queues"] == {"celery": 0}
