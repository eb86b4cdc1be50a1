"""Faults of Redis and its workers: reported before the deadline, and gone after recovery."""

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


def test_health_recovers_with_the_workers_after_a_broker_restart(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """A stopped Redis is reported at once; after its restart, health is 200 once the worker has reconnected."""
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


def test_frozen_workers_are_healthy_on_the_first_probe_after_they_resume(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """With all workers stopped, health is 503 by the deadline; after SIGCONT the first probe is 200."""
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
