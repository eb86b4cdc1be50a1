"""Concurrent requests to gunicorn workers of every kind, forked after first use."""

from __future__ import annotations

from collections.abc import Callable
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from celery import Celery

from tests.support.nodes import ScriptedNode
from tests.support.probes import PATH, statuses
from tests.support.processes import Web, wait_until
from tests.support.servers import RabbitServer, RedisServer


def status_of(web: Web) -> int:
    """Return the status of one request."""
    try:
        with urlopen(web.url + PATH, timeout=15) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


SERVERS = [
    pytest.param(["-k", "sync", "--threads", "1"], id="sync", marks=pytest.mark.slow),
    pytest.param(["-k", "gthread"], id="gthread", marks=pytest.mark.slow),
    pytest.param(["-k", "gevent"], id="gevent"),
    pytest.param(["--preload"], id="preload"),
]


@pytest.mark.parametrize("options", SERVERS)
def test_every_gunicorn_worker_answers_after_a_fork(
    options: list[str], redis: RedisServer, node: ScriptedNode, start_web: Callable[..., Web]
) -> None:
    """Two workers of each kind, forked after first use, give right answers and leave no key on Redis."""
    environ = {"CELERY_HEALTH_CACHE_SECONDS": "0"}
    web = start_web(redis.url, *options, processes=2, environ=environ, application="tests.support.web:used_app()")
    assert statuses(lambda: status_of(web), 60, 8) == {200: 60}
    assert web.end() == 0
    wait_until(lambda: not redis.client().exists("_kombu.binding.reply.celery.pidbox"), "no reply queue is bound", 5)
    assert [key for key in redis.client().scan_iter() if b"celery-health" in key] == []


def test_preloaded_workers_do_not_share_a_rabbitmq_connection(
    rabbit: RabbitServer, start_web: Callable[..., Web]
) -> None:
    """With ``--preload`` and an application used before the fork, every answer on RabbitMQ is right."""
    with ScriptedNode(Celery(broker=rabbit.url), "node1@testhost"):
        environ = {"CELERY_HEALTH_CACHE_SECONDS": "0"}
        web = start_web(
            rabbit.url, "--preload", processes=2, environ=environ, application="tests.support.web:used_app()"
        )
        assert statuses(lambda: status_of(web), 40, 8) == {200: 40}
