"""Broker and job totals behind Redis Sentinel, also after a failover."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from flask import Flask

from tests.support.exposition import JOB, Exposition
from tests.support.probes import Probe, probe
from tests.support.processes import Worker, wait_until
from tests.support.publishing import send
from tests.support.sentinel import MASTER, SentinelGroup
from tests.support.servers import RedisServer

PASSWORD = "hunter2"

#: Concerns clients that publish. Other tests see what our own checks leave.
KOMBU = "kombu before 5.7 leaves its connections to sentinels to the collector"


@pytest.fixture
def group(_nothing_left: None, tmp_path: Path) -> Iterator[SentinelGroup]:
    """Yield a master, its replica and three sentinels."""
    found = SentinelGroup(tmp_path, PASSWORD)
    yield found
    found.stop()


def client_of(group: SentinelGroup, **options: Any) -> Celery:
    """Return a client of the workers behind the sentinels."""
    return Celery(
        "upstream", broker=group.url, broker_transport_options={"master_name": MASTER, **options}, set_as_current=False
    )


def started(group: SentinelGroup, start_worker: Callable[..., Worker], store: str = "auto") -> Worker:
    """Start a worker behind the sentinels."""
    environ = {"CELERY_HEALTH_METRICS_STORE": store, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
    return start_worker(group.url, app="tests.support.apps.sentinel_jobs:app", environ=environ)


def completed(web: Flask) -> float:
    """Return the number of completed attempts in ``/metrics``."""
    return Exposition(web.test_client().get("/metrics").text).total(f"{JOB}_completed_total")


def test_totals_reach_the_next_master_within_10_seconds(
    group: SentinelGroup, redis: RedisServer, celery_app: Celery, start_worker: Callable[..., Worker],
    make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    """After the store's master is killed while jobs run, every count is on the next master exactly once."""
    store = f"sentinel://:{PASSWORD}@{';'.join(group.hosts)}/1?master_name={MASTER}"
    environ = {"CELERY_HEALTH_METRICS_STORE": store, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
    worker = start_worker(redis.url, environ=environ)
    web = make_app(celery_app, metrics_store=store)
    send(celery_app, 5)
    wait_until(lambda: completed(web) == 5, "five are counted", 30)
    wait_until(group.in_step, "the replica is in step", 10)
    before = group.master
    before.stop()
    send(celery_app, 5)
    wait_until(lambda: group.master is not before, "the sentinels name another master", 20)
    wait_until(lambda: completed(web) == 10, "ten are counted", 10)
    worker.wait_for(rf"Redis master {MASTER} of sentinels (127\.0\.0\.1:\d+,?){{3}}, keys {{celery_health}}:\*")
    assert PASSWORD not in worker.output()


@pytest.mark.leaves("descriptors", reason=KOMBU)
def test_auto_follows_the_brokers_master(
    group: SentinelGroup, start_worker: Callable[..., Worker], make_app: Callable[..., Flask]
) -> None:
    """With ``auto`` the totals are on the broker's master, and a failover neither loses nor doubles counts."""
    worker = started(group, start_worker)
    web = make_app(client_of(group), cache_seconds=0)
    send(client_of(group), 5)
    wait_until(lambda: completed(web) == 5, "five are counted", 30)
    assert probe(web).status == 200
    wait_until(group.in_step, "the replica is in step", 10)
    group.fail_over()
    send(client_of(group), 5)
    wait_until(lambda: worker.output().count(" succeeded in ") == 10, "all have run", 40)
    wait_until(lambda: completed(web) == 10, "ten are counted", 10)
    assert probe(web).status == 200


FAULTS: dict[str, Callable[[SentinelGroup], object]] = {
    "dead": lambda group: group.sentinels[0].end(signal.SIGKILL),
    "frozen": lambda group: group.sentinels[0].send_signal(signal.SIGSTOP),
}


@pytest.mark.leaves("descriptors", reason=KOMBU)
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_new_web_process_works_without_the_first_sentinel(
    fault: Callable[[SentinelGroup], object], group: SentinelGroup, start_worker: Callable[..., Worker],
    make_app: Callable[..., Flask],
) -> None:  # fmt: skip
    """With the first sentinel dead or frozen, the first probe is 200 by the deadline and the totals are read."""
    started(group, start_worker)
    send(client_of(group), 3)
    wait_until(lambda: completed(make_app(client_of(group))) == 3, "three are counted", 30)
    fault(group)
    fresh = make_app(client_of(group))
    found = probe(fresh)
    assert (found.status, found.workers) == (200, ["worker1@testhost"]), found.error
    assert found.seconds < 2
    began = time.monotonic()
    assert completed(fresh) == 3
    assert time.monotonic() - began < 2


def failing(group: SentinelGroup, make_app: Callable[..., Flask], **options: Any) -> tuple[Probe, str]:
    """Return a probe and a scrape of a new application."""
    web = make_app(client_of(group, **options), cache_seconds=0)
    return probe(web), web.test_client().get("/metrics").text


def test_an_error_names_master_and_sentinels(
    group: SentinelGroup, make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture
) -> None:
    """A missing master, sentinel or master name is reported by name, by the deadline and without the password."""
    hosts = ", ".join(group.hosts)
    other, _ = failing(group, make_app, master_name="other")
    assert other.error == f"Broker sentinel://{hosts} (master other) has no master that a sentinel names"
    for server in group.servers:
        server.stop()
    gone, _ = failing(group, make_app)
    assert gone.error.startswith(f"Broker sentinel://{hosts} (master {MASTER}) ")
    for sentinel in group.sentinels:
        sentinel.end(signal.SIGKILL)
    lost, metrics = failing(group, make_app)
    assert lost.error == f"Broker sentinel://{hosts} (master {MASTER}) has no master that a sentinel names"
    assert 'celery_health_scrape_success{source="store"} 0.0' in metrics
    shown = ",".join(sorted(group.hosts))
    assert f"Redis master {MASTER} of sentinels {shown}, keys {{celery_health}}:* cannot be used" in caplog.text
    assert max(found.seconds for found in (other, gone, lost)) < 2.4
    assert not [text for text in (other.body, gone.body, lost.body, metrics, caplog.text) if PASSWORD in str(text)]


def test_a_worker_does_not_start_with_a_sentinel_url_without_master_name(
    redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """A worker whose store URL lacks ``master_name`` exits with an error that names it, without the password."""
    environ = {"CELERY_HEALTH_METRICS_STORE": f"sentinel://:{PASSWORD}@127.0.0.1:1"}
    worker = start_worker(redis.url, environ=environ, ready=False)
    assert worker.wait() != 0
    assert "its name is not known: give metrics_store=sentinel://...?master_name=NAME" in worker.output()
    assert PASSWORD not in worker.output()
