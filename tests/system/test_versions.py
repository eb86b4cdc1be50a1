"""Differences between versions of Celery that a worker shows, and the warning for an untested version."""

from __future__ import annotations

from collections.abc import Callable

from celery import Celery
from flask import Flask

from tests.support.probes import probe
from tests.support.processes import Worker
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES


def test_the_pool_is_named_if_celery_reports_it(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., Worker]
) -> None:
    """The details of a worker hold the name of its pool, or null where its Celery does not report it."""
    start_worker(redis.url, pool="solo")
    found = probe(make_app(celery_app))
    expected = "solo" if DIFFERENCES["pool_implementation"].holds else None
    assert [worker["pool"] for worker in found.body["details"]["workers"]] == [expected]


WARNING = "is newer than 5.7, the newest that celery_health_bp was tested with"


def test_a_worker_warns_once_of_an_untested_celery(redis: RedisServer, start_worker: Callable[..., Worker]) -> None:
    """A worker under a newer Celery logs one warning, and runs and counts jobs."""
    worker = start_worker(redis.url, app="tests.support.apps.newer_jobs:app")
    Celery(broker=redis.url).send_task("tests.support.apps.jobs.work", kwargs={"customer_id": "acme"})
    worker.wait_for("tests.support.apps.jobs.work.* succeeded")
    worker.end()
    assert worker.output().count(WARNING) == 1
    assert b"acme" in b"".join(redis.client().hkeys("{celery_health}:totals"))
