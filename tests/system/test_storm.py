"""Counts when pool processes or the main process are killed."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from tests.support.apps.storm_jobs import BEGAN
from tests.support.exposition import JOB, Exposition
from tests.support.killing import RUNNING
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer

APP = "tests.support.apps.storm_jobs:app"
JOBS, KILLS = 2000, 50


@pytest.mark.slow
def test_the_accounting_invariant_holds_after_50_kills(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """After 2,000 jobs and 50 kills, every series balances, and the starts equal those that the jobs recorded."""
    for name in ("worker1", "worker2"):
        start_worker(redis.url, app=APP, name=name, concurrency=4)
    client, web = Redis.from_url(redis.url), make_app(celery_app).test_client()
    customers = itertools.count()

    def send() -> None:
        celery_app.send_task("tests.support.apps.storm_jobs.killable", kwargs={"customer_id": next(customers) % 10})

    def victim() -> int:
        """Return a process that runs a job, or 0."""
        if not client.llen("celery"):
            send()  # on a busy machine all jobs may have ended before the last kill
        return int(client.spop(RUNNING) or 0)

    for _ in range(JOBS):
        send()
    for _ in range(KILLS):
        found: list[int] = []
        wait_until(lambda found=found: found.append(victim()) or found[-1], "a job runs", 30)
        os.kill(found[-1], signal.SIGKILL)
    sent = next(customers)

    def read() -> Exposition:
        return Exposition(web.get("/metrics").text)

    wait_until(lambda: read().ended() >= sent, "all jobs are over", 60)
    totals = read()
    assert set(totals.imbalance().values()) == {0}
    assert len(totals.imbalance()) == 10  # customers
    assert totals.total(f"{JOB}_started_total") == client.llen(BEGAN)
    assert totals.total(f"{JOB}_failed_total", error_type="WorkerLostError") == KILLS
    client.close()


def test_a_killed_worker_loses_at_most_its_last_flush_interval(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """After SIGKILL of the main process, only starts within the last flush interval may be missing."""
    worker = start_worker(redis.url, app=APP, environ={"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "1"})
    for _ in range(1000):
        celery_app.send_task("tests.support.apps.storm_jobs.killable", kwargs={"customer_id": 1})
    client = Redis.from_url(redis.url)
    wait_until(lambda: client.llen(BEGAN) > 250, "some jobs have begun", 30)
    killed_at = time.time()
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    exposition = Exposition(make_app(celery_app).test_client().get("/metrics").text)
    counted = exposition.total(f"{JOB}_started_total")
    began = [float(at) for at in client.lrange(BEGAN, 0, -1)]
    client.close()
    slack = 0.5  # a busy machine delays the flush thread
    assert sum(at < killed_at - 1 - slack for at in began) <= counted <= len(began)
