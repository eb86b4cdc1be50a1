"""Redis in trouble: each fault is told in time and by name, and forgotten when it is over."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.probes import TIMEOUT, in_time, probe, wait_for_workers
from tests.support.processes import Worker
from tests.support.servers import RedisServer

pytestmark = pytest.mark.deadline


def test_a_restarted_broker_is_right_again_when_its_workers_are(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """Redis ends: refused at once. It starts: 200 as soon as the worker has found it again."""
    start_worker(redis.url, pool="solo")
    app = make_app(celery_app, cache_seconds=0)
    assert probe(app).status == 200
    redis.stop()
    found = probe(app)
    assert (found.status, "refused the connection" in found.error) == (503, True)
    assert found.seconds < 1
    redis.start()
    wait_for_workers(redis.url)
    assert probe(app).status == 200


def test_workers_that_freeze_are_back_on_the_first_probe(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """Every worker's main process is stopped: 503 by the deadline. They go on: 200 at once."""
    workers = [start_worker(redis.url, name=f"worker{number}", pool="solo") for number in (1, 2)]
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=TIMEOUT)
    assert len(probe(app).workers) == 2
    for worker in workers:
        worker.send_signal(signal.SIGSTOP)
    faulted = probe(app)
    for worker in workers:
        worker.send_signal(signal.SIGCONT)
    after = probe(app)
    assert (faulted.status, faulted.error) == (503, "No active Celery workers found")
    assert in_time(faulted)
    assert "worker1@testhost: not answering since" in faulted.notes
    assert after.status == 200
    assert len(probe(app).workers) == 2
