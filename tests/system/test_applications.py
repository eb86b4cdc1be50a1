"""Two applications in one Redis database: only its own workers count for each."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest
from flask import Flask

from tests.support.client_apps import named_app
from tests.support.probes import probe
from tests.support.processes import ROOT, Worker, celery_environ, wait_until
from tests.support.servers import RedisServer

#: Prints the workers that count for an app named "client", in a separate process.
CLIENT = """
from celery import Celery
from celery_health_bp import CeleryHealth, Settings
app = Celery("client")
%s
health = CeleryHealth(lambda: app, Settings(timeout_seconds=5))
print(*health.check().active_workers)
"""


def client_of(redis: RedisServer, code: str) -> list[str]:
    """Return the workers that count for such a process, after it has run ``code``."""
    done = subprocess.run(
        [sys.executable, "-c", CLIENT % code],
        env=celery_environ(redis.url, {"TENANT_NAME": "b"}),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.split()


@pytest.fixture
def two_fleets(redis: RedisServer, start_worker: Callable[..., Worker]) -> dict[str, Worker]:
    """Start a worker for each of the applications a and b, each on its own queue."""
    return {
        name: start_worker(
            redis.url,
            app="tests.support.apps.tenant_jobs:app",
            pool="solo",
            name=f"{name}-worker",
            environ={"TENANT_NAME": name, "TENANT_QUEUE": f"queue-{name}"},
        )
        for name in ("a", "b")
    }


def test_workers_of_another_application_do_not_count(
    redis: RedisServer, two_fleets: dict[str, Worker], make_app: Callable[..., Flask]
) -> None:
    """When the only worker of a ends, a is 503 and lists b's worker, b stays 200; an app without tasks counts both."""
    a, b = named_app("a", redis.url), named_app("b", redis.url)
    with a, b:
        a.conf.task_default_queue, b.conf.task_default_queue = "queue-a", "queue-b"
        app_a, app_b = (make_app(app, cache_seconds=0, timeout_seconds=2) for app in (a, b))
        probe(app_b)
        wait_until(lambda: probe(app_a).body["details"]["other_applications"], "a lists the worker of b")
        found = probe(app_a)
        assert (found.status, found.workers, found.body["queues"]) == (200, ["a-worker@testhost"], {"queue-a": 0})
        assert found.body["details"]["other_applications"] == [{"name": "b-worker@testhost", "application": "b"}]
        metrics = app_a.test_client().get("/metrics").text
        assert 'celery_worker_up{hostname="a-worker@testhost"} 1.0' in metrics
        assert "celery_workers 1.0" in metrics
        assert "b-worker" not in metrics
        assert client_of(redis, "") == ["a-worker@testhost", "b-worker@testhost"]
        # Importing the tasks of an application makes its workers count.
        assert client_of(redis, "import tests.support.apps.tenant_jobs") == ["b-worker@testhost"]

        two_fleets["a"].end()
        found = probe(app_a)
        assert (found.status, found.error) == (503, "No active Celery workers found")
        assert "b-worker@testhost (b)" in found.advice
        assert "control_exchange" in found.advice
        assert app_a.test_client().get("/api/celery/tasks/").status_code == 503
        assert probe(app_b).status == 200
        two_fleets["b"].end()
        wait_until(lambda: probe(app_a).body["details"]["other_applications"] == [], "b is not listed any more")
        assert "b-worker" not in probe(app_a).advice
