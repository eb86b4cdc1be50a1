"""Many who ask at once: threads, forks, greenlets; one broadcast, and nobody waits for ever."""

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

pytestmark = pytest.mark.deadline


def status_of(web: Web) -> int:
    """Status of one request over HTTP."""
    try:
        with urlopen(web.url + PATH, timeout=15) as answer:
            return int(answer.status)
    except HTTPError as error:
        with error:
            return error.code


SERVERS = {
    "sync": ["-k", "sync", "--threads", "1"],
    "gthread": ["-k", "gthread"],
    "gevent": ["-k", "gevent"],
    "preload": ["--preload"],
}


@pytest.mark.parametrize("options", SERVERS.values(), ids=SERVERS)
def test_every_process_of_gunicorn_asks_by_itself(
    options: list[str], redis: RedisServer, node: ScriptedNode, start_web: Callable[..., Web]
) -> None:
    """Two processes of each kind, forked after first use: all answers right; at the end Redis is clean."""
    environ = {"CELERY_HEALTH_CACHE_SECONDS": "0"}
    web = start_web(redis.url, *options, processes=2, environ=environ, application="tests.support.web:used_app()")
    assert statuses(lambda: status_of(web), 60, 8) == {200: 60}
    assert web.end() == 0
    wait_until(lambda: not redis.client().exists("_kombu.binding.reply.celery.pidbox"), "no reply queue is bound", 5)
    assert [key for key in redis.client().scan_iter() if b"celery-health" in key] == []


def test_a_fork_after_first_use_is_right_on_rabbitmq(rabbit: RabbitServer, start_web: Callable[..., Web]) -> None:
    """``--preload`` with an application that has been used: children do not share its connection."""
    with ScriptedNode(Celery(broker=rabbit.url), "node1@testhost"):
        environ = {"CELERY_HEALTH_CACHE_SECONDS": "0"}
        web = start_web(
            rabbit.url, "--preload", processes=2, environ=environ, application="tests.support.web:used_app()"
        )
        assert statuses(lambda: status_of(web), 40, 8) == {200: 40}
