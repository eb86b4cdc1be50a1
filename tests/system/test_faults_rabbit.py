"""RabbitMQ in trouble: each fault is told in time and by name, and forgotten when it is over."""

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


def test_a_stopped_broker_is_right_again_when_its_workers_are(
    rabbit: RabbitServer, rabbit_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """``rabbitmqctl stop_app``: refused at once. ``start_app``: 200 as soon as the worker has found it again."""
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


def test_workers_that_freeze_are_back_on_the_first_probe(
    rabbit: RabbitServer, rabbit_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """The worker's main process is stopped: 503 by the deadline. It goes on: 200 at once."""
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
