"""The permissions that docs/permissions.md grants suffice for Celery and for this package."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from flask import Flask

from tests.support.permissions import PASSWORD, grant, granted
from tests.support.probes import probe
from tests.support.processes import ROOT, Process, celery_environ, wait_until
from tests.support.servers import RabbitServer, RedisServer


@pytest.fixture
def worker(started: list[Process], tmp_path: Path) -> Callable[..., str]:
    """Return a function that starts a worker with gossip, mingle and events, and returns the output of a ping."""

    def start(broker_url: str, key_prefix: str = "") -> str:
        environ = celery_environ(
            broker_url, {"TENANT_KEY_PREFIX": key_prefix, "CELERY_HEALTH_FLUSH_INTERVAL_SECONDS": "0.05"}
        )
        celery = [sys.executable, "-m", "celery", "-A", "tests.support.apps.tenant_jobs:app"]
        command = [*celery, "worker", "--loglevel=info", "-E", "-c", "1", "-n", "w@t"]
        process = Process(command, tmp_path / "w.log", environ)
        started.append(process)
        process.wait_for(r"w@t ready\.")
        done = subprocess.run(
            [*celery, "inspect", "ping", "--timeout=5"],
            env=environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr + (process.output() if done.returncode else "")

    return start


@pytest.mark.parametrize("key_prefix", ["", pytest.param("tenant:", marks=pytest.mark.slow)])
def test_the_documented_acl_suffices_on_redis(
    key_prefix: str, redis: RedisServer, worker: Callable[..., str], make_app: Callable[..., Flask]
) -> None:
    """With the documented user, Celery's ping works, a check is 200, and the job totals arrive."""
    plain, prefixed = granted("redis")
    url = grant(redis, plain, prefixed if key_prefix else [])
    assert "w@t: OK" in worker(url, key_prefix)
    with Celery("tenant", broker=url, set_as_current=False) as celery_app:
        celery_app.conf.broker_transport_options = {"global_keyprefix": key_prefix}
        celery_app.send_task("tenant.work")
        app = make_app(celery_app, cache_seconds=0)
        found = probe(app)
        assert (found.status, found.workers, found.notes) == (200, ["w@t"], "")
        assert set(found.body["queues"].values()) == {0}
        client = app.test_client()
        wait_until(lambda: 'completed_total{customer_id="acme"' in client.get("/metrics").text, "the job is counted")
        assert 'scrape_success{source="store"} 1.0' in client.get("/metrics").text


@pytest.mark.slow
def test_the_documented_permissions_suffice_on_rabbitmq(
    rabbit: RabbitServer, worker: Callable[..., str], make_app: Callable[..., Flask]
) -> None:
    """With the documented user on RabbitMQ, Celery's ping works and a check is 200."""
    (commands,) = granted("rabbitmq")
    for command in commands:
        rabbit.control(*command.split())
    try:
        url = rabbit.url.replace("guest:guest", f"celery:{PASSWORD}")
        assert "w@t: OK" in worker(url)
        with Celery("tenant", broker=url, set_as_current=False) as celery_app:
            celery_app.send_task("tenant.work")
            found = probe(make_app(celery_app))
            assert (found.status, found.workers, found.notes) == (200, ["w@t"], "")
            assert found.body["queues"]["celery"] == 0
    finally:
        rabbit.control("delete_user", "celery")
