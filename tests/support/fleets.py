"""Fixtures for worker and web processes, which end with the test that uses them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from celery import Celery

from tests.support.brokers import left_on_redis
from tests.support.processes import Process, Web, Worker, wait_until
from tests.support.servers import RedisServer


@pytest.fixture
def started(_nothing_left: None) -> Iterator[list[Process]]:
    """Collect the processes of a test, end them after it, and fail if one printed a warning about this package."""
    processes: list[Process] = []
    yield processes
    measured = "COVERAGE_PROCESS_CONFIG" in os.environ  # a killed process would leave no coverage data
    for process in reversed(processes):
        process.end(signal.SIGQUIT if measured and isinstance(process, Worker) else process.last_signal)
    assert [line for process in processes for line in process.warnings()] == []


@pytest.fixture
def start_worker(started: list[Process], tmp_path: Path) -> Callable[..., Worker]:
    """Return a function that starts a worker: ``start_worker(broker_url, *options, name=..., pool=...)``."""

    def start(broker_url: str, *options: str, **arguments: object) -> Worker:
        worker = Worker(broker_url, tmp_path, *options, **arguments)  # type: ignore[arg-type]
        started.append(worker)
        if broker_url.startswith("redis:") and arguments.get("ready", True):
            wait_until(lambda: answers(worker, broker_url), "it answers a ping")
        return worker

    return start


@pytest.fixture(scope="session")
def idle_worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Start a Redis and ``worker1@testhost``, which runs no jobs; return the Redis."""
    folder = tmp_path_factory.mktemp("idle")
    server = RedisServer(folder)
    with ExitStack() as stack:
        stack.callback(server.stop)
        with pytest.MonkeyPatch.context() as patch:  # it is killed, which would leave no coverage data
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
            worker = Worker(server.url, folder)
        stack.callback(worker.end, signal.SIGKILL)
        wait_until(lambda: answers(worker, server.url), "it answers a ping")
        yield server
    assert worker.warnings() == []


@pytest.fixture
def idle_fleet(idle_worker: RedisServer, _nothing_left: None) -> Iterator[RedisServer]:
    """Return the Redis of an idle worker that tests share; fail if the test leaves reply queues on it.

    For tests that only ask the worker: they must publish no job and stop nothing.
    """
    yield idle_worker
    remaining = left_on_redis(idle_worker)
    assert not remaining, f"left: {'; '.join(remaining)}"


def answers(worker: Worker, broker_url: str) -> bool:
    """Return whether the worker answers a ping: on Redis, it logs "ready" before it listens to commands."""
    with Celery(broker=broker_url, set_as_current=False) as app, app.connection_for_write() as connection:
        return bool(app.control.ping([worker.name], timeout=0.5, connection=connection))


@pytest.fixture
def start_web(started: list[Process], tmp_path: Path) -> Callable[..., Web]:
    """Return a function that starts gunicorn: ``start_web(broker_url, *options, processes=...)``."""

    def start(broker_url: str, *options: str, **arguments: object) -> Web:
        web = Web(broker_url, tmp_path, *options, **arguments)  # type: ignore[arg-type]
        started.append(web)
        return web

    return start
