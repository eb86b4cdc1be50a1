"""Workers and the web process that reads their job totals: is it the same store?"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask

from tests.support.exposition import Exposition
from tests.support.probes import store_notes
from tests.support.processes import Worker as WorkerProcess
from tests.support.processes import wait_until
from tests.support.servers import RedisServer


def store_read(web: Flask) -> float | None:
    """What a scrape says of the store."""
    return Exposition(web.test_client().get("/metrics").text).get("celery_health_scrape_success", source="store")


def test_a_process_that_reads_another_store_than_the_worker_fills_says_so(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """Another key prefix, database or kind of store: a sentence names both, the scrape has a 0, the verdict stays."""
    worker = start_worker(redis.url)
    place = redis.url.removesuffix("/0")
    filled = f"Job totals of {worker.name} go to {place}/0 (keys {{celery_health}}), but this process "
    same = ": give workers and this process the same metrics_store and metrics_key_prefix"
    differing = {
        f"reads {place}/0 (keys {{other}})": {"metrics_key_prefix": "other"},
        f"reads {place}/1 (keys {{celery_health}})": {"metrics_store": f"{place}/1"},
        'asks the workers for them (metrics_store="control")': {"metrics_store": "control"},
    }
    for own, settings in differing.items():
        web = make_app(celery_app, cache_seconds=0, **settings)
        assert store_notes(web) == [filled + own + same]
        assert store_read(web) == 0
    web = make_app(celery_app, cache_seconds=0)
    assert (store_notes(web), store_read(web)) == ([], 1)


def test_a_worker_that_keeps_its_totals_is_reported_once_in_the_log(
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
    start_worker: Callable[..., WorkerProcess],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A worker with the control store under a web process with Redis: two checks, one line in the log."""
    worker = start_worker(redis.url, environ={"CELERY_HEALTH_METRICS_STORE": "control"})
    web = make_app(celery_app, cache_seconds=0)
    for _ in range(2):
        (sentence,) = store_notes(web)
    assert sentence.startswith(f'Job totals of {worker.name} stay in memory (metrics_store="control"), but this')
    assert [record.getMessage() for record in caplog.records].count(sentence) == 1
    assert store_read(web) == 0


def test_one_store_under_two_names_is_one_also_after_it_was_emptied(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """localhost and 127.0.0.1 are no mismatch; nor after a FLUSHDB, for a web process that ran before or a new one."""
    place = redis.url.removesuffix("/0")
    start_worker(
        redis.url,
        environ={"CELERY_HEALTH_METRICS_STORE": f"{place}/1", "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.02"},
    )
    settings = {"metrics_store": f"{place.replace('127.0.0.1', 'localhost')}/1", "cache_seconds": 0}
    web = make_app(celery_app, **settings)
    assert (store_notes(web), store_read(web)) == ([], 1)
    with redis.client() as client:
        client.execute_command("SELECT", 1)
        client.flushdb()
    assert (store_notes(web), store_read(web)) == ([], 1)
    newcomer = make_app(celery_app, **settings)
    wait_until(lambda: store_notes(newcomer) == [], "the worker has given the store a new id")
    assert store_notes(web) == []
