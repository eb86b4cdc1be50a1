"""Fixtures of all tests. Those for servers and processes are in ``tests/support/brokers.py`` and ``fleets.py``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from celery import Celery
from flask import Flask
from kombu import pools

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint
from celery_health_bp.counting.recorder import recorder_of
from celery_health_bp.errors import ConfigurationError
from tests.support import leaks
from tests.support.brokers import rabbit_node

__all__ = ["rabbit_node"]  # here, and not in each folder: one node for all tests


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run tests that share processes in one process of pytest-xdist: those of RabbitMQ, and others like them."""
    for item in items:
        for shared in ("rabbit_node", "idle_worker", "django_project"):
            if shared in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.xdist_group(shared))
                break
        group = item.get_closest_marker("xdist_group")
        # pytest-xdist 3.8 ignores the groups with pytest 9.2: https://github.com/pytest-dev/pytest-xdist/issues/1386
        if group is not None and hasattr(item, "_id") and config.getoption("loadgroup", default=False):
            item._id = type(item._id).parse(f"{item.nodeid}@{group.args[0]}")


@pytest.fixture(autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a process or an open file behind.

    Other fixtures request it, so that they are set up after it: pytest-flask requests ``app`` before all of ours.
    """
    with leaks.nothing_left({"threads", "processes", "descriptors"} - leaks.may_leave(request)):
        yield
        pools.reset()  # connections of the test's Celery clients


@pytest.fixture(autouse=True)
def _log_level() -> Iterator[None]:
    """Restore the log level, which a worker that runs in this process changes."""
    level = logging.root.level
    yield
    logging.root.setLevel(level)


@pytest.fixture(autouse=True)
def _clean_environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the machine's settings from the environment."""
    if request.node.get_closest_marker("measured") is None:  # measuring all processes would cost a third of the time
        monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    for key in [key for key in os.environ if key.startswith("CELERY_")]:
        monkeypatch.delenv(key)
    for key in ("COLUMNS", "LINES"):  # set by readline, which the processes of pytest-xdist import
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def make_health(_nothing_left: None) -> Iterator[Callable[..., CeleryHealth]]:
    """Create a ``CeleryHealth`` that ends with the test: ``make_health(celery_app, **settings)``."""
    made: list[CeleryHealth] = []

    def make(celery_app: Celery, **settings: object) -> CeleryHealth:
        health = CeleryHealth(lambda: celery_app, Settings(**settings))  # type: ignore[arg-type]
        made.append(health)
        return health

    yield make
    for health in made:
        with suppress(ConfigurationError):  # wrong settings of the test: there is no recorder
            recorder_of(health.app).stop()
        health.close()


@pytest.fixture
def make_app(make_health: Callable[..., CeleryHealth]) -> Callable[..., Flask]:
    """Create a Flask application around a Celery app: ``make_app(celery_app, **settings)``."""

    def make(celery_app: Celery, **settings: object) -> Flask:
        health = make_health(celery_app, **settings)
        app = Flask("web")
        app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
        app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)  # type: ignore[method-assign]
        return app

    return make
