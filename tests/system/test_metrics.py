"""Job counts of workers in ``/metrics`` of a web process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery

from tests.support.exposition import JOB, Exposition
from tests.support.processes import Web, Worker, wait_until
from tests.support.servers import RedisServer


def send(celery_app: Celery, task: str, times: int = 1, **kwargs: object) -> None:
    """Publish jobs of ``tests.support.apps.jobs``."""
    for _ in range(times):
        celery_app.send_task(f"tests.support.apps.jobs.{task}", kwargs=kwargs)


def settled(web: Web, ended: int) -> Exposition:
    """Return the exposition once so many attempts have ended."""
    wait_until(lambda: Exposition.read(web.url).ended() >= ended, f"{ended} attempts have ended", 30)
    return Exposition.read(web.url)


def test_counts_and_buckets_of_forty_two_attempts_are_exact(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    start_web: Callable[..., Web],
) -> None:
    """40 completed and 2 failed attempts appear exactly, in counters and in histogram buckets."""
    start_worker(redis.url)
    web = start_web(redis.url)
    send(celery_app, "work", 40, customer_id="123")
    send(celery_app, "fail", 2, customer_id="123")
    found = settled(web, 42)
    work, fail = "tests.support.apps.jobs.work", "tests.support.apps.jobs.fail"
    assert found.get(f"{JOB}_started_total", task_name=work, customer_id="123") == 40
    assert found.get(f"{JOB}_completed_total", task_name=work, customer_id="123") == 40
    assert found.get(f"{JOB}_failed_total", task_name=fail, error_type="DatabaseError", customer_id="123") == 2
    assert found.get(f"{JOB}_duration_seconds_count", task_name=work) == 40
    assert found.get(f"{JOB}_duration_seconds_bucket", task_name=work, le="3600.0") == 40
    assert found.get(f"{JOB}_duration_seconds_bucket", task_name=work, le="+Inf") == 40
    assert found.get(f"{JOB}_duration_seconds_count", task_name=fail) is None
    assert set(found.imbalance().values()) == {0}


def test_every_web_process_shows_the_totals_of_all_workers(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    start_web: Callable[..., Web],
) -> None:
    """With two workers and two gunicorn processes, every answer has the same totals."""
    for name in ("worker1", "worker2"):
        start_worker(redis.url, name=name, concurrency=1)
    web = start_web(redis.url, processes=2)
    send(celery_app, "work", 30)
    settled(web, 30)
    answers = [Exposition.read(web.url) for _ in range(12)]
    assert {answer.total(f"{JOB}_completed_total") for answer in answers} == {30}
    assert {answer.get("celery_workers") for answer in answers} == {2}


@pytest.mark.slow
def test_totals_survive_a_restart_of_the_worker(
    redis: RedisServer,
    celery_app: Celery,
    start_worker: Callable[..., Worker],
    start_web: Callable[..., Web],
) -> None:
    """A worker that stops flushes its last counts, and the next worker adds to them."""
    web = start_web(redis.url)
    first = start_worker(redis.url)
    send(celery_app, "work", 5)
    first.wait_for(r"(?s)(succeeded.*){5}")
    first.end()
    assert Exposition.read(web.url).total(f"{JOB}_completed_total") == 5
    start_worker(redis.url)
    send(celery_app, "work", 5)
    assert settled(web, 10).total(f"{JOB}_completed_total") == 10
