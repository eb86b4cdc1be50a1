"""Fixtures: servers and processes that end with the test that asked for them."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from celery import Celery
from flask import Flask
from kombu import pools

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint
from celery_health_bp.counting.recorder import recorder_of
from celery_health_bp.errors import ConfigurationError

from . import leaks
from .processes import Process, Web, Worker, wait_until
from .servers import RabbitServer, RedisServer, missing_rabbitmq

if TYPE_CHECKING:
    from redis import Redis


def may_leave(request: pytest.FixtureRequest) -> set[str]:
    """What a test is marked to leave."""
    return {kind for mark in request.node.iter_markers("leaves") for kind in mark.args}


def left_on_redis(server: RedisServer) -> list[str]:
    """Reply queues that nobody deletes any more."""
    from redis.exceptions import AuthenticationError

    with server.client() as client, suppress(AuthenticationError):  # a server of tests of wrong credentials
        return leaks.left(lambda: leaks.reply_queues(leaks.names_on_redis(client)))
    return []


def left_on_rabbitmq(server: RabbitServer) -> list[str]:
    """The same on RabbitMQ."""
    return leaks.left(lambda: leaks.reply_queues(server.queues()))


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that leaves a thread, a process or an open file behind has failed.

    Other fixtures ask for it to be set up after it: pytest-flask asks for ``app`` before all of ours.
    """
    with leaks.nothing_left({"threads", "processes", "descriptors"} - may_leave(request)):
        yield
        pools.reset()  # connections of the test's own Celery clients


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """A worker that a test runs within this process leaves the log at its own level."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    if request.node.get_closest_marker("measured") is None:  # to measure all processes costs a third of the time
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for key in [key for key in os.environ if key.startswith("CELERY_")]:
        monkeypatch.delenv(key)
    for key in ("COLUMNS", "LINES"):  # readline sets them, which a process of pytest-xdist imports
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def redis(
    _nothing_left: None, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    """A Redis of the test's own, without reply queues in the end."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    remaining = left_on_redis(server) if "broker" not in may_leave(request) and server.answers() else []
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
    allowed = not leaks.reply_queues(names) or "broker" in may_leave(request)
    remaining = [] if allowed else left_on_rabbitmq(rabbit_node)
    rabbit_node.delete_queues(names)
    assert not remaining, f"left: {'; '.join(remaining)}"


@pytest.fixture
def started(_nothing_left: None) -> Iterator[list[Process]]:
    """Processes to end with the test."""
    processes: list[Process] = []
    yield processes
    measured = "COVERAGE_PROCESS_CONFIG" in os.environ  # a process that is killed would leave no data
    for process in reversed(processes):
        process.end(signal.SIGQUIT if measured and isinstance(process, Worker) else process.last_signal)
    assert [line for process in processes for line in process.warnings()] == []


@pytest.fixture
def start_worker(started: list[Process], tmp_path: Path) -> Callable[..., Worker]:
    """Starts a worker: ``start_worker(broker_url, *options, name=..., pool=...)``."""

    def start(broker_url: str, *options: str, **arguments: object) -> Worker:
        worker = Worker(broker_url, tmp_path, *options, **arguments)  # type: ignore[arg-type]
        started.append(worker)
        if broker_url.startswith("redis:") and arguments.get("ready", True):
            wait_until(lambda: answers(worker, broker_url), "it answers a ping")
        return worker

    return start


def answers(worker: Worker, broker_url: str) -> bool:
    """It takes commands: on Redis, Celery says that a worker is ready before it listens to them."""
    with Celery(broker=broker_url, set_as_current=False) as app, app.connection_for_write() as connection:
        return bool(app.control.ping([worker.name], timeout=0.5, connection=connection))


@pytest.fixture
def start_web(started: list[Process], tmp_path: Path) -> Callable[..., Web]:
    """Starts gunicorn: ``start_web(broker_url, *options, processes=...)``."""

    def start(broker_url: str, *options: str, **arguments: object) -> Web:
        web = Web(broker_url, tmp_path, *options, **arguments)  # type: ignore[arg-type]
        started.append(web)
        return web

    return start


@pytest.fixture
def celery_app(redis: RedisServer) -> Celery:
    """A client of the workers of ``tests.jobs`` on the test's Redis."""
    return Celery("upstream", broker=redis.url)


@pytest.fixture
def make_app(_nothing_left: None) -> Iterator[Callable[..., Flask]]:
    """Makes a Flask application around a Celery app: ``make_app(celery_app, **settings)``."""
    made: list[CeleryHealth] = []

    def make(celery_app: Celery, **settings: object) -> Flask:
        health = CeleryHealth(lambda: celery_app, Settings(**settings))  # type: ignore[arg-type]
        made.append(health)
        app = Flask("web")
        app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
        app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)  # type: ignore[method-assign]
        return app

    yield make
    for health in made:
        with suppress(ConfigurationError):  # the test's wrong settings: there is none
            recorder_of(health.app).stop()
        health.close()


@pytest.fixture
def app(celery_app: Celery, make_app: Callable[..., Flask]) -> Flask:
    """The application behind pytest-flask's ``client``; no cache."""
    return make_app(celery_app, cache_seconds=0)
