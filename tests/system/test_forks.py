"""Processes forked while threads count and flush: by a test, by autoscaling, by a restart of the pool."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery

from tests.support.exposition import JOB, Exposition
from tests.support.processes import ROOT, Worker, wait_until
from tests.support.servers import RedisServer, free_port

BUSY = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.001"}


@pytest.fixture
def read(celery_app: Celery, make_app: Any) -> Callable[[], Exposition]:
    """Return a function that scrapes the totals."""
    web = make_app(celery_app).test_client()
    return lambda: Exposition(web.get("/metrics").text)


def forked(worker: Worker) -> int:
    """Return the number of pool processes that appear in the worker's log."""
    return len(set(re.findall(r"ForkPoolWorker-\d+", worker.output())))


def send(client: Celery, number: int) -> None:
    """Publish jobs that take a moment."""
    for _ in range(number):
        client.send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "123", "seconds": 0.02})


@pytest.mark.slow
def test_a_thousand_forked_children_do_not_hang(redis: RedisServer, read: Callable[[], Exposition]) -> None:
    """Children forked while threads count and flush end in time and have their own counts."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.forks", redis.url], cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stderr
    assert read().total(f"{JOB}_completed_total", customer_id="child") == 1000
    assert read().total(f"{JOB}_completed_total", customer_id="parent") == int(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("times", ["100", "hang", "queues"])
def test_a_child_forked_during_first_use_answers(redis: RedisServer, times: str) -> None:
    """A child forked while a thread uses a CeleryHealth or an app for the first time gives status and totals."""
    command = [sys.executable, "-m", "tests.support.first_use", f"redis://127.0.0.1:{free_port()}/0", redis.url, times]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, f"{done.returncode} failed: {done.stderr[-2000:]}"


@pytest.mark.slow
def test_a_pool_that_autoscales_loses_no_count(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Callable[[], Exposition]
) -> None:
    """While the pool grows and shrinks five times, the end of every job is counted.

    Not every job completes: Celery 5.2 shrinks the pool by killing busy processes.
    """
    worker = start_worker(redis.url, "--autoscale=6,1", environ={**BUSY, "AUTOSCALE_KEEPALIVE": "0.5"})
    for burst in range(1, 6):
        send(celery_app, 60)
        wait_until(lambda done=60 * burst: read().ended() == done, "the burst ran", 40)
        wait_until(lambda times=burst: worker.output().count("Scaling down") >= times, "the pool shrank", 30)
    assert forked(worker) > 6  # more than run at once
    assert set(read().imbalance().values()) == {0}


@pytest.mark.slow
def test_a_pool_that_is_restarted_under_load_loses_no_job(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], read: Callable[[], Exposition]
) -> None:
    """After each of ten restarts of the pool, new children run jobs, and as many attempts started as ended."""
    worker = start_worker(redis.url, environ=BUSY)
    for restart in range(1, 11):
        send(celery_app, 30)
        celery_app.control.pool_restart()
        wait_until(lambda done=30 * restart: read().ended() >= done, "all jobs are over", 40)
    assert forked(worker) > 10  # of 22; on a busy machine some are gone before they get a job
    assert set(read().imbalance().values()) == {0}
