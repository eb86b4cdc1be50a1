"""What differs between versions of Celery is there from the version that the table says, and a newer one is told of."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.probes import probe
from tests.support.processes import Worker
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES


def test_the_pool_is_named_where_the_worker_names_it(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """The details of a worker hold its pool's name, or null where its Celery does not tell."""
    start_worker(redis.url, pool="solo")
    found = probe(make_app(celery_app))
    expected = "solo" if DIFFERENCES["pool_implementation"].holds else None
    assert [worker["pool"] for worker in found.body["details"]["workers"]] == [expected]


WARNING = "is newer than 5.7, the newest that celery_health_bp was tested with"


def test_a_newer_celery_is_told_of_once_by_a_worker(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A worker with a newer Celery starts, logs one line, and runs and counts jobs all the same."""
    worker = start_worker(redis.url, app="tests.support.apps.newer_jobs:app")
    Celery(broker=redis.url).send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "acme"})
    worker.wait_for("tests.support.apps.jobs.work.* succeeded")
    worker.end()
    assert worker.output().count(WARNING) == 1
    assert b"acme" in b"".join(redis.client().hkeys("{celery_health}:totals"))
