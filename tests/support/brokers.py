"""Fixtures: brokers that end with the test that asked for them. Unit tests have none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from flask import Flask
from kombu import pools

from tests.support import leaks
from tests.support.nodes import ScriptedNode
from tests.support.servers import DURABLE, RabbitServer, RedisServer, missing_rabbitmq

if TYPE_CHECKING:
    from redis import Redis


def left_on_redis(server: RedisServer) -> list[str]:
    """Reply queues that nobody deletes any more."""
    from redis.exceptions import AuthenticationError

    with server.client() as client, suppress(AuthenticationError):  # a server of tests of wrong credentials
        return leaks.left(lambda: leaks.reply_queues(leaks.names_on_redis(client)))
    return []


def left_on_rabbitmq(server: RabbitServer) -> list[str]:
    """The same on RabbitMQ."""
    return leaks.left(lambda: leaks.reply_queues(server.queues()))


@pytest.fixture
def redis(
    _nothing_left: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """A Redis of the test's own, without reply queues in the end."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    remaining = left_on_redis(server) if "broker" not in leaks.may_leave(request) and server.answers() else []
    server.stop()
    assert not remaining, f"left: {'; '.join(remaining)}"


@pytest.fixture
def admin(redis: RedisServer) -> Redis:
    """A client of the test's Redis that may do everything; the server's stop closes it."""
    return redis.client()


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """A RabbitMQ node for all tests that need one; a missing one is an error in CI."""
    missing = missing_rabbitmq()
    if missing:
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    node = RabbitServer(tmp_path_factory.mktemp("rabbit"))
    yield node
    node.stop()


@pytest.fixture
def rabbit(rabbit_node: RabbitServer, _nothing_left: None, request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """The node, emptied after the test, and without reply queues before that."""
    yield rabbit_node
    pools.reset()  # an exclusive queue goes with its connection
    names = rabbit_node.queues()
    allowed = not leaks.reply_queues(names) or "broker" in leaks.may_leave(request)
    remaining = [] if allowed else left_on_rabbitmq(rabbit_node)
    rabbit_node.delete_queues(names)
    assert not remaining, f"left: {'; '.join(remaining)}"


@pytest.fixture
def redis_pair(tmp_path: Path) -> Iterator[list[RedisServer]]:
    """Two independent Redis servers that keep their data when they are killed."""
    servers = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        servers.append(RedisServer(tmp_path / name, *DURABLE))
    yield servers
    for server in servers:
        server.stop()


@pytest.fixture
def celery_app(redis: RedisServer) -> Celery:
    """A client of the workers of ``tests.support.apps.jobs`` on the test's Redis."""
    return Celery("upstream", broker=redis.url)


@pytest.fixture
def rabbit_app(rabbit: RabbitServer) -> Celery:
    """A client of the workers of ``tests.support.apps.jobs`` on RabbitMQ."""
    return Celery("upstream", broker=rabbit.url)


@pytest.fixture
def node(celery_app: Celery) -> Iterator[ScriptedNode]:
    """A scripted node on the test's Redis that replies at once."""
    with ScriptedNode(celery_app, "node1@testhost") as one:
        yield one


@pytest.fixture
def app(celery_app: Celery, make_app: Callable[..., Flask]) -> Flask:
    """The application behind pytest-flask's ``client``; no cache."""
    return make_app(celery_app, cache_seconds=0)
