"""Counts that do not reach the store, and totals that were lost: reported by worker and web process."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from celery import Celery
from redis import Redis

from tests.support.exposition import JOB, Exposition
from tests.support.probes import probe
from tests.support.processes import Worker, wait_until
from tests.support.publishing import send
from tests.support.servers import RedisServer

TOTALS = "{celery_health}:totals"
FAST = {"CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}


def not_known(app: Any) -> list[str]:
    """Return the notes of ``health/?verbose=1`` on job totals."""
    found: list[str] = app.test_client().get("/api/celery/health/?verbose=1").get_json()["details"]["not_known"]
    return [sentence for sentence in found if sentence.startswith("Job totals")]


def test_a_store_that_refuses_counts_is_reported_until_it_accepts_them(
    redis: RedisServer, admin: Redis, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """Metrics and a note report a user without scripting; once the right is granted, the totals are exact."""
    admin.execute_command("ACL", "SETUSER", "counter", "on", ">s3cret", "~*", "&*", "+@all", "-@scripting")
    url = redis.url.replace("//", "//counter:s3cret@")
    worker = start_worker(redis.url, environ={**FAST, "CELERY_HEALTH_METRICS_STORE": url})
    send(celery_app, 3)
    worker.wait_for(r"(?s)(succeeded in.*){3}")
    web = make_app(celery_app, cache_seconds=0)

    def read() -> Exposition:
        return Exposition(web.test_client().get("/metrics").text)

    found = read()
    assert found.get("celery_worker_store_up", hostname=worker.name) == 0
    assert found.get("celery_health_scrape_success", source="store") == 0
    place = rf"redis://127\.0\.0\.1:{redis.port}/0 for \d+ s \(NoPermissionError\)"
    sentence = f"Job totals of {worker.name} cannot be sent to {place}: 6 events wait in memory and are sent again"
    wait_until(lambda: re.fullmatch(sentence, *not_known(web)), "the note appears")
    assert probe(web).status == 200
    admin.execute_command("ACL", "SETUSER", "counter", "+@scripting")
    wait_until(lambda: read().total(f"{JOB}_completed_total") == 3, "the counts arrive, in two batches")
    found = read()
    assert found.total(f"{JOB}_started_total") == found.total(f"{JOB}_completed_total") == 3
    assert found.get("celery_worker_store_up", hostname=worker.name) == 1
    assert found.get("celery_health_scrape_success", source="store") == 1
    assert not_known(web) == []


def test_possible_and_actual_losses_of_totals_are_reported(
    redis: RedisServer, admin: Redis, celery_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """An eviction policy for all keys, and totals that disappear, each make one note and one log line."""
    admin.config_set("maxmemory", "1gb")
    admin.config_set("maxmemory-policy", "allkeys-lru")
    worker = start_worker(redis.url, environ=FAST)
    web = make_app(celery_app, cache_seconds=0)
    (policy,) = not_known(web)
    assert policy.startswith(f"Job totals, says {worker.name}: Redis at 127.0.0.1:{redis.port}, keys ")
    assert policy.endswith(" may be evicted (maxmemory_policy allkeys-lru): totals would go backwards; use noeviction")
    send(celery_app, 2)
    wait_until(lambda: admin.hlen(TOTALS), "they are counted")
    admin.delete(TOTALS)
    send(celery_app, 2)
    wait_until(lambda: len(not_known(web)) == 2, "the loss is reported")
    gone = f"{TOTALS} was gone (deleted, evicted, Redis is empty or another one of a list): the totals begin at 0 there"
    assert not_known(web)[1].endswith(f" UTC {gone}")
    assert worker.output().count("may be evicted") == worker.output().count("was gone") == 1
