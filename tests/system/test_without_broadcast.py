"""Brokers without remote control: queue lengths and job totals are still reported."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import kombu
import pytest
from celery import Celery
from flask import Flask

from tests.support.apps.tenant_jobs import SQS
from tests.support.network import silent_port
from tests.support.probes import probe
from tests.support.processes import Process, Worker, wait_until
from tests.support.servers import RedisServer, free_port

OFF = "Whether workers run cannot be known"
LENGTHS = {'celery_queue_length{queue_name="celery"} 3.0', 'celery_health_scrape_success{source="queues"} 1.0'}
NO_WORKERS = 'celery_health_scrape_success{source="workers"} 0.0'


def needs(*modules: str) -> None:
    """Skip the test if a library is missing; fail with ``CI`` set."""
    for module in modules:
        import_module(module) if os.environ.get("CI") else pytest.importorskip(module)


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")  # in kombu's tables
@pytest.mark.leaves("descriptors", reason="kombu keeps the engine of a database")
def test_sql_database(
    tmp_path: Path, redis: RedisServer, start_worker: Callable[..., Worker], make_app: Callable[..., Flask]
) -> None:
    """On sqla+sqlite health is 503, the queue lengths are read, and the job totals are read from Redis."""
    needs("sqlalchemy")
    url = f"sqla+sqlite:///{tmp_path}/broker.sqlite"
    store = {"CELERY_HEALTH_METRICS_STORE": redis.url, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
    start_worker(url, "-Q", "elsewhere", app="tests.support.apps.tenant_jobs:app", pool="solo", environ=store)
    with Celery("tenant", broker=url, set_as_current=False) as celery_app:
        celery_app.send_task("tenant.work", queue="elsewhere")
        for _ in range(3):
            celery_app.send_task("tenant.work")
        app = make_app(celery_app, metrics_store=redis.url, cache_seconds=0)
        found = probe(app)
        assert (found.status, found.body["queues"]["celery"]) == (503, 3)
        assert re.search(f"{OFF}: broker .* has no broadcast", found.error)
        assert "Redis or RabbitMQ" in found.advice
        client = app.test_client()
        wait_until(lambda: 'completed_total{customer_id="acme"' in client.get("/metrics").text, "the job is counted")
        text = client.get("/metrics").text
        assert {*LENGTHS, NO_WORKERS, 'celery_health_scrape_success{source="store"} 1.0'} <= set(text.splitlines())
        assert "celery_workers " not in text
        assert client.get("/api/celery/tasks/").json["error"]["code"] == "remote_control_off"
        assert client.get("/api/celery/stats/").status_code == 503


@pytest.fixture
def sqs(started: list[Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Start the SQS server of moto; return its URL."""
    needs("moto", "boto3", "pycurl")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "any")
    port = free_port()
    started.append(Process([sys.executable, "-m", "moto.server", "-p", str(port)], tmp_path / "moto.log"))

    def listens() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    wait_until(listens, "moto listens", 60)
    return f"sqs://any:any@127.0.0.1:{port}"


def sqs_client(broker_url: str) -> Celery:
    """Return a client of the workers of ``tests.support.apps.tenant_jobs`` on SQS."""
    app = Celery("tenant", broker=broker_url, set_as_current=False)
    app.conf.broker_transport_options = SQS
    return app


@pytest.mark.slow
@pytest.mark.skipif(kombu.VERSION < (5, 3), reason="the SQS of kombu 5.2 wants older libraries")
@pytest.mark.leaves("descriptors", reason="boto3 keeps its connections")
def test_sqs(sqs: str, redis: RedisServer, start_worker: Callable[..., Worker], make_app: Callable[..., Flask]) -> None:
    """On SQS lengths and totals are read as well, and a silent SQS is reported by the deadline."""
    store = {"CELERY_HEALTH_METRICS_STORE": redis.url, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
    start_worker(sqs, "-Q", "elsewhere", app="tests.support.apps.tenant_jobs:app", pool="solo", environ=store)
    with sqs_client(sqs) as celery_app:
        celery_app.send_task("tenant.work", queue="elsewhere")
        for _ in range(3):
            celery_app.send_task("tenant.work")
        app = make_app(celery_app, metrics_store=redis.url, timeout_seconds=10, cache_seconds=0)
        found = probe(app)
        assert (found.status, found.body["queues"]["celery"]) == (503, 3)
        assert OFF in found.error
        client = app.test_client()
        wait_until(lambda: 'completed_total{customer_id="acme"' in client.get("/metrics").text, "the job is counted")
        assert set(client.get("/metrics").text.splitlines()) >= LENGTHS
    with silent_port() as port, sqs_client(f"sqs://any:any@127.0.0.1:{port}") as celery_app:
        found = probe(make_app(celery_app, timeout_seconds=2))
    assert (found.status, found.body["queues"]) == (503, {"celery": -1})
    assert "did not answer in time" in found.error
    assert found.seconds < 5  # boto3 alone would take minutes
