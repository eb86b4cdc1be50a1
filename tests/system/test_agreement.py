"""Workers and web process with different stores of the job totals."""

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
    """Return the success of reading the store, as a scrape reports it."""
    return Exposition(web.test_client().get("/metrics").text).get("celery_health_scrape_success", source="store")


def test_a_store_that_differs_from_the_workers_is_reported(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """With another key prefix, database or kind of store, a note names both, the scrape has 0, the status stays."""
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


def test_a_worker_that_keeps_its_totals_in_memory_is_logged_once(
    redis: RedisServer,
    celery_app: Celery,
    make_app: Callable[..., Flask],
    start_worker: Callable[..., WorkerProcess],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a worker on the control store and a web process on Redis, two checks log one line."""
    worker = start_worker(redis.url, environ={"CELERY_HEALTH_METRICS_STORE": "control"})
    web = make_app(celery_app, cache_seconds=0)
    for _ in range(2):
        (sentence,) = store_notes(web)
    assert sentence.startswith(f'Job totals of {worker.name} stay in memory (metrics_store="control"), but this')
    assert [record.getMessage() for record in caplog.records].count(sentence) == 1
    assert store_read(web) == 0


def test_two_names_of_one_store_do_not_differ_even_after_a_flush(
    redis: RedisServer, celery_app: Celery, make_app: Callable[..., Flask], start_worker: Callable[..., WorkerProcess]
) -> None:
    """localhost and 127.0.0.1 are the same store, also after FLUSHDB, for an old and a new web process."""
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
