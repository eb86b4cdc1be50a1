"""Job counts without Redis: each scrape asks the workers, here on RabbitMQ and on filesystem://."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from tests.support.exposition import JOB, Exposition
from tests.support.processes import Web, Worker, wait_until
from tests.support.publishing import send
from tests.support.servers import RabbitServer
from tests.support.versions import DIFFERENCES

COMPLETED = f"{JOB}_completed_total"


def test_each_worker_on_rabbitmq_reports_its_own_counts(
    rabbit: RabbitServer, rabbit_app: Celery, start_worker: Callable[..., Worker], start_web: Callable[..., Web]
) -> None:
    """The counts of two workers arrive through the broker, each series with a ``worker`` label."""
    names = ["worker1@testhost", "worker2@testhost"]
    for name in names:
        start_worker(rabbit.url, name=name.partition("@")[0], concurrency=1)
    web = start_web(rabbit.url)
    send(rabbit_app, 60)
    wait_until(lambda: Exposition.read(web.url).total(COMPLETED) == 60, "all are counted", 40)
    found = Exposition.read(web.url)
    assert sorted(labels["worker"] for labels, _ in found.series(COMPLETED)) == names
    assert found.total(f"{JOB}_duration_seconds_count", worker=names[0]) == found.total(COMPLETED, worker=names[0])
    assert set(found.imbalance().values()) == {0}
    assert found.get("celery_health_scrape_success", source="store") == 1


def test_a_worker_without_the_package_is_left_out(
    rabbit: RabbitServer, rabbit_app: Celery, start_worker: Callable[..., Worker], start_web: Callable[..., Web]
) -> None:
    """A worker without our command neither delays the scrape nor logs an error."""
    start_worker(rabbit.url, name="monitored", concurrency=1)
    plain = start_worker(rabbit.url, name="plain", app="tests.support.apps.plain_jobs:app", concurrency=1)
    web = start_web(rabbit.url)
    send(rabbit_app, 20)
    wait_until(lambda: Exposition.read(web.url).get("celery_workers") == 2, "both workers answer", 30)
    wait_until(lambda: Exposition.read(web.url).total(COMPLETED) > 0, "some are counted", 30)
    found = Exposition.read(web.url)
    assert {labels["worker"] for labels, _ in found.series(COMPLETED)} == {"monitored@testhost"}
    assert (found.get("celery_health_scrape_duration_seconds", source="store") or 0) < 0.5
    assert "celery_health_counts" not in plain.output()


def test_a_frozen_worker_delays_only_one_scrape(
    rabbit: RabbitServer, rabbit_app: Celery, start_worker: Callable[..., Worker], make_app: Any
) -> None:
    """Only the first scrape waits for a frozen worker, and its counts return when it goes on."""
    start_worker(rabbit.url, name="worker1", concurrency=1)
    frozen = start_worker(rabbit.url, name="worker2", concurrency=1)
    web = make_app(rabbit_app, cache_seconds=0).test_client()

    def read() -> Exposition:
        return Exposition(web.get("/metrics").text)

    send(rabbit_app, 40)
    wait_until(lambda: read().total(COMPLETED) == 40, "all are counted", 40)
    frozen.send_signal(signal.SIGSTOP)
    read()
    began = time.monotonic()
    found = read()
    assert time.monotonic() - began < 1
    assert {labels["worker"] for labels, _ in found.series(COMPLETED)} == {"worker1@testhost"}
    frozen.send_signal(signal.SIGCONT)
    wait_until(lambda: read().total(COMPLETED) == 40, "the other is back", 30)


@pytest.mark.skipif(not DIFFERENCES["filesystem_broadcast"].holds, reason="filesystem:// has no broadcast")
def test_counts_arrive_over_a_file_system(tmp_path: Path, start_worker: Callable[..., Worker], make_app: Any) -> None:
    """With filesystem:// the counts of a worker arrive through the shared folder."""
    folders = {"data_folder_in": tmp_path / "queue", "data_folder_out": tmp_path / "queue"}
    folders |= {"control_folder": tmp_path / "control", "processed_folder": tmp_path / "processed"}
    for folder in folders.values():
        folder.mkdir(exist_ok=True)
    options = {"polling_interval": 0.1, **{name: str(folder) for name, folder in folders.items()}}
    client = Celery("upstream", broker="filesystem://")
    client.conf.broker_transport_options = options
    send(client, 5)  # before the start: a worker that polls may read a file before kombu has written it
    start_worker(
        "filesystem://",
        app="tests.support.apps.plain_jobs:monitored",
        environ={"TRANSPORT_OPTIONS": json.dumps(options)},
    )
    web = make_app(client).test_client()
    wait_until(lambda: Exposition(web.get("/metrics").text).total(COMPLETED) == 5, "all are counted", 40)
