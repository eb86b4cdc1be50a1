"""Workers and queues as a check reports them: active, silent and inactive workers, queue lengths."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from flask import Flask

from tests.support.nodes import ScriptedNode
from tests.support.probes import probe
from tests.support.processes import Process, Worker, celery_environ, wait_until
from tests.support.servers import RabbitServer, RedisServer
from tests.support.versions import DIFFERENCES


def test_a_worker_in_warm_shutdown_leaves_the_list(
    redis: RedisServer, celery_app: Celery, app: Flask, start_worker: Callable[..., Worker]
) -> None:
    """A worker that has ended is not listed as active, and a note mentions it."""
    start_worker(redis.url, name="worker1", pool="solo")
    ending = start_worker(redis.url, name="worker2", pool="solo")
    wait_until(lambda: len(probe(app).workers) == 2, "both are known")
    ending.end()
    found = probe(app)
    assert found.workers == ["worker1@testhost"]
    assert "worker2@testhost: not answering since" in found.notes


@pytest.mark.deadline
def test_the_advice_mentions_a_busy_solo_worker(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """While a solo worker runs a job, health is 503 and the advice mentions that cause."""
    app = make_app(celery_app, cache_seconds=0, timeout_seconds=1)
    worker = start_worker(redis.url, pool="solo")
    assert probe(app).status == 200
    celery_app.send_task("tests.support.apps.jobs.plain", kwargs={"seconds": 3})
    worker.wait_for("tests.support.apps.jobs.plain.* received")
    found = probe(app)
    assert (found.status, found.error) == (503, "No active Celery workers found")
    assert "worker1@testhost: not answering since" in found.notes
    assert "A busy solo pool answers again after its job" in found.advice
    worker.wait_for("succeeded")
    assert probe(app).status == 200


@pytest.mark.deadline
@pytest.mark.skipif(not DIFFERENCES["beat_remote_control"].holds, reason="beat has no remote control")
def test_beat_is_no_worker_and_costs_no_time(
    redis: RedisServer, celery_app: Celery, app: Flask, tmp_path: Path, started: list[Process]
) -> None:
    """Beat replies to a ping, but no check waits for it or lists it."""
    argv = ["beat", "-s", str(tmp_path / "schedule"), "--pidfile="]
    code = f"from tests.support.apps.jobs import app; app.conf.beat_enable_remote_control = True; app.start({argv!r})"
    started.append(Process([sys.executable, "-c", code], tmp_path / "beat.log", celery_environ(redis.url)))
    pings = celery_app.control
    wait_until(lambda: pings.broadcast("ping", reply=True, limit=1, timeout=1), "beat answers a ping", 30)
    with ScriptedNode(celery_app, "a@t"):
        probe(app)
        found = probe(app)
    assert found.workers == ["a@t"]
    assert found.seconds < 1
    assert found.notes == "a@t: no job is counted (no task is a MonitoredTask)"


def test_a_worker_that_consumes_nothing_is_not_active(
    redis: RedisServer, celery_app: Celery, app: Flask, start_worker: Callable[..., Worker]
) -> None:
    """After ``cancel_consumer`` health is 503, and the advice names ``add_consumer``."""
    start_worker(redis.url, pool="solo")
    assert probe(app).status == 200
    celery_app.control.cancel_consumer("celery")
    wait_until(lambda: probe(app).status == 503, "it consumes nothing")
    found = probe(app)
    assert found.error == "No worker consumes a queue; answering without one: worker1@testhost"
    assert "celery -A upstream control add_consumer QUEUE" in found.advice
    celery_app.control.add_consumer("celery")
    wait_until(lambda: probe(app).status == 200, "it consumes again")


def test_a_missing_queue_on_rabbitmq_has_no_length_until_it_is_consumed(
    rabbit: RabbitServer, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """A queue that does not exist has length -1, and the others are still read; once it exists, its length is 0."""
    celery_app = Celery("upstream", broker=rabbit.url)
    app = make_app(celery_app, cache_seconds=0, queues=["absent", "celery"])
    start_worker(rabbit.url, pool="solo")
    assert probe(app).body["queues"] == {"absent": -1, "celery": 0}
    celery_app.control.add_consumer("absent")
    wait_until(lambda: probe(app).body["queues"] == {"absent": 0, "celery": 0}, "its length is known")
