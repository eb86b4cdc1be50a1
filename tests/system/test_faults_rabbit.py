"""Faults of RabbitMQ and its workers: reported before the deadline, and gone after recovery."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.probes import TIMEOUT, in_time, probe, wait_for_workers
from tests.support.processes import Worker
from tests.support.servers import RabbitServer

pytestmark = pytest.mark.deadline


def test_health_recovers_with_the_workers_after_a_broker_restart(
    rabbit: RabbitServer, rabbit_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """After ``stop_app`` the fault is reported at once; after ``start_app``, 200 once the worker has reconnected."""
    start_worker(rabbit.url, pool="solo")
    app = make_app(rabbit_app, cache_seconds=0)
    assert probe(app).status == 200
    rabbit.control("stop_app")
    try:
        found = probe(app)
    finally:
        rabbit.control("start_app")
    assert (found.status, "refused the connection" in found.error) == (503, True), found
    assert found.seconds < 1
    wait_for_workers(rabbit.url)
    assert probe(app).status == 200


def test_a_frozen_worker_is_healthy_on_the_first_probe_after_it_resumes(
    rabbit: RabbitServer, rabbit_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """With the worker stopped, health is 503 by the deadline; after SIGCONT the first probe is 200."""
    worker = start_worker(rabbit.url, pool="solo")
    app = make_app(rabbit_app, cache_seconds=0, timeout_seconds=TIMEOUT)
    assert probe(app).status == 200
    worker.send_signal(signal.SIGSTOP)
    faulted = probe(app)
    worker.send_signal(signal.SIGCONT)
    after = probe(app)
    assert (faulted.status, faulted.error) == (503, "No active Celery workers found")
    assert in_time(faulted)
    assert after.status == 200
