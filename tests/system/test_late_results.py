"""Attempts whose first reported end is not the final one: the final one is counted."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import Celery
from redis import Redis

from tests.support.apps.outcome_jobs import RELEASED
from tests.support.outcomes import APP, ENVIRON, counted, reader, send, with_starts
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES

pytestmark = pytest.mark.measured


def state_of(redis: RedisServer, task_id: str) -> str:
    """Return the state of a job in the result backend."""
    with redis.client() as client:
        state: str = json.loads(client.get(f"celery-task-meta-{task_id}"))["status"]
    return state


@pytest.mark.parametrize("then", [None, signal.SIGTERM], ids=["SIGQUIT", "SIGQUIT, SIGTERM"])
def test_a_result_that_arrives_during_a_soft_shutdown_is_counted(
    redis: RedisServer,
    admin: Redis,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    make_app: Any,
    then: signal.Signals | None,
) -> None:
    """Jobs that end during the soft shutdown are counted by their results, and only the others as cancelled.

    A second signal during the soft shutdown changes nothing.
    """
    environ = {**ENVIRON, "CELERY_RESULT_BACKEND": redis.url, "SOFT_SHUTDOWN_SECONDS": "1"}
    worker = start_worker(redis.url, app=APP, concurrency=8, environ=environ)
    read = reader(make_app, redis)
    jobs = {
        "short": "wait", "short late": "wait_late", "failing": "wait_and_fail", "also short": "wait",
        "long": "work", "long late": "work_late",
    }  # fmt: skip
    for customer, task in jobs.items():
        send(celery_app, customer, task, task_id=customer, seconds=60 if "long" in customer else 0)
    wait_until(lambda: counted(read()).keys() == jobs.keys(), "all have begun", 30)
    worker.send_signal(signal.SIGQUIT)
    worker.wait_for("Soft Shutdown")
    if then is not None:
        worker.send_signal(then)
    admin.set(RELEASED, "yes")
    worker.wait(30)
    stored = {customer: state_of(redis, customer) for customer in ("short", "short late", "also short", "long")}
    assert stored == {"short": "SUCCESS", "short late": "SUCCESS", "also short": "SUCCESS", "long": "RETRY"}
    completed, cancelled = with_starts({"completed": 1}), with_starts({"aborted cancelled": 1})
    assert counted(read()) == {
        "short": completed, "short late": completed, "failing": with_starts({"failed DatabaseError": 1}),
        "also short": completed, "long": cancelled, "long late": cancelled,
    }  # fmt: skip


test_a_result_that_arrives_during_a_soft_shutdown_is_counted.__test__ = DIFFERENCES[
    "soft_shutdown"
].holds  # not a test where Celery has no soft shutdown


def test_a_job_with_a_lost_process_is_counted_as_celery_decides(
    redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """A stored success counts as completed and a retry as retried, where this Celery supports them; else as failed."""
    start_worker(redis.url, app=APP, environ={**ENVIRON, "CELERY_RESULT_BACKEND": redis.url})
    read = reader(make_app, redis)
    send(celery_app, "stored", "kill_after_success", task_id="stored")
    send(celery_app, "again", "kill_retried")
    lost = {"failed WorkerLostError": 1}
    retried = {"retried WorkerLostError": 1} if DIFFERENCES["retry_on_worker_lost"].holds else {}
    expected = {
        "stored": with_starts({"completed": 1} if DIFFERENCES["lost_after_success"].holds else lost),
        "again": with_starts({**lost, **retried}),
    }
    wait_until(lambda: counted(read()) == expected, f"{expected} is counted", 30)
    assert state_of(redis, "stored") == "SUCCESS"
