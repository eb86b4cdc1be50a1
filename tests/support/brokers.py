"""Fixtures for brokers. Each ends with the test that uses it; unit tests have none."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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
    """Return the reply queues that are left on a Redis."""
    with server.client() as client:
        return leaks.left(lambda: leaks.reply_queues(leaks.names_on_redis(client)))


def left_on_rabbitmq(server: RabbitServer) -> list[str]:
    """Return the reply queues that are left on a RabbitMQ."""
    return leaks.left(lambda: leaks.reply_queues(server.queues()))


@pytest.fixture
def redis(
    _nothing_left: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """Start a Redis for one test; fail if the test leaves reply queues on it."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    remaining = left_on_redis(server) if "broker" not in leaks.may_leave(request) and server.answers() else []
    server.stop()
    assert not remaining, f"left: {'; '.join(remaining)}"


@pytest.fixture
def admin(redis: RedisServer) -> Redis:
    """Return a client of the test's Redis with all permissions; the server's stop closes it."""
    return redis.client()


@pytest.fixture(scope="session")
def rabbit_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitServer]:
    """Start one RabbitMQ for all tests that need it; skip them if it is not installed, in CI fail."""
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
    """Return the node; fail if the test leaves reply queues on it, then delete all queues."""
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
    """Return a client of ``tests.support.apps.jobs`` on the test's Redis."""
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
    """Return the Flask application of pytest-flask's ``client``, without a cache."""
    return make_app(celery_app, cache_seconds=0)
