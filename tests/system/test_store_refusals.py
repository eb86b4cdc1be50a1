"""A worker whose store refuses its counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from redis import Redis

from tests.support.exposition import JOB, Exposition
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer

SECONDS = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}


def test_a_worker_keeps_counts_while_the_key_has_a_wrong_type(
    redis: RedisServer, admin: Redis, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """A totals key of a wrong type is logged once; after its deletion every count arrives."""
    admin.set("{celery_health}:totals", "x")
    worker = start_worker(redis.url, environ=SECONDS)
    for _ in range(5):
        celery_app.send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "123"})
    worker.wait_for(
        r"\{celery_health\}:totals holds something .* sent again until they are accepted; this does not pass"
    )
    worker.wait_for(r"(?s)(succeeded in.*){5}")
    assert worker.output().count("holds something") == 1
    admin.delete("{celery_health}:totals")
    web = make_app(celery_app, cache_seconds=0).test_client()
    wait_until(lambda: Exposition(web.get("/metrics").text).total(f"{JOB}_completed_total") == 5, "all are counted")
