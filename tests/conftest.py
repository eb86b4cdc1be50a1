"""Fixtures: servers and processes that end with the test that asked for them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint

from .processes import Process, Web, Worker
from .servers import RabbitServer, RedisServer, missing_rabbitmq


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for key in [key for key in os.environ if key.startswith("CELERY_")]:
        monkeypatch.delenv(key)


@pytest.fixture
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis of the test's own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


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
def rabbit(rabbit_node: RabbitServer) -> Iterator[RabbitServer]:
    """The node, its virtual host emptied after the test."""
    yield rabbit_node
    rabbit_node.control("delete_vhost", "/")
    rabbit_node.control("add_vhost", "/")
    rabbit_node.control("set_permissions", "-p", "/", "guest", ".*", ".*", ".*")


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """Processes to end with the test."""
    processes: list[Process] = []
    yield processes
    for process in reversed(processes):
        process.end(signal.SIGKILL)


@pytest.fixture
def start_worker(started: list[Process], tmp_path: Path) -> Callable[..., Worker]:
    """Starts a worker: ``start_worker(broker_url, *options, name=..., pool=...)``."""

    def start(broker_url: str, *options: str, **arguments: object) -> Worker:
        worker = Worker(broker_url, tmp_path, *options, **arguments)  # type: ignore[arg-type]
        started.append(worker)
        return worker

    return start


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
def make_app() -> Iterator[Callable[..., Flask]]:
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
        health.close()


@pytest.fixture
def app(celery_app: Celery, make_app: Callable[..., Flask]) -> Flask:
    """The application behind pytest-flask's ``client``; no cache."""
    return make_app(celery_app, cache_seconds=0)
