"""Counting beside code of users: overridden hooks, own requests, several apps, and faults of our own."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from celery import Celery, Task
from redis import Redis

from celery_health_bp import MonitoredTask
from celery_health_bp.counting.ledger import Ledger
from celery_health_bp.counting.recorder import recorder_of
from celery_health_bp.wire import PUBLISHED_HEADER
from tests.support.client_apps import user_app
from tests.support.exposition import JOB, Exposition
from tests.support.processes import wait_until
from tests.support.servers import RedisServer

pytestmark = pytest.mark.measured


@pytest.fixture
def eager(redis: RedisServer) -> Task:
    """A task for eager runs, of an app that sends its counts when it is told to."""
    app = Celery("upstream", broker=redis.url, task_cls=MonitoredTask, set_as_current=False)
    app.conf.celery_health = {"flush_interval_seconds": 60}

    @app.task(name="job", shared=False)
    def job(customer_id: str) -> None:
        """Return."""

    job.apply(["before"])
    assert recorder_of(app).flush()
    job.apply(["later"])
    return job


def injected(*_: Any) -> None:
    """An error of our own code."""
    raise RuntimeError("injected")


def test_an_error_of_ours_while_a_scrape_sends_leaves_the_totals(
    eager: Task, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape whose process cannot send what it ran eagerly has the totals, and counts the error."""
    web = make_app(eager.app, timeout_seconds=0.5).test_client()
    with monkeypatch.context() as broken:
        broken.setattr(Ledger, "take", injected)
        reply = web.get("/metrics")
    assert reply.status_code == 200
    assert Exposition(reply.text).get(f"{JOB}_completed_total", task_name="job", customer_id="before") == 1
    found = Exposition(web.get("/metrics").text)
    assert found.get(f"{JOB}_completed_total", task_name="job", customer_id="later") == 1
    assert found.get("celery_health_internal_errors_total") == 1
    recorder_of(eager.app).stop()


def test_an_error_of_ours_while_a_process_ends_hides_no_unsent_count(
    eager: Task, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the last counts unsent for an error of our own, the log says which, and the store is disconnected."""
    with redis.client() as client:
        connections = len(client.client_list())
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "take", injected)
            with pytest.raises(RuntimeError, match="injected"):
                recorder_of(eager.app).stop()
        assert "2 counts could not be sent" in caplog.text
        wait_until(lambda: len(client.client_list()) < connections, "the store is disconnected", 5)
    recorder_of(eager.app).stop()


def test_two_apps_in_one_process_count_apart(redis: RedisServer, make_app: Any) -> None:
    """Each of two Celery apps of a process has its own totals under its own prefix."""
    apps = {}
    for name in ("one", "two"):
        app = Celery(name, broker=redis.url, task_cls=MonitoredTask, set_as_current=False)
        app.conf.celery_health = {"metrics_key_prefix": name}

        @app.task(name="job", shared=False)
        def job(customer_id: str) -> None:
            """Return."""

        apps[name] = app
        for _ in range(1 if name == "one" else 4):
            job.apply(kwargs={"customer_id": name})
        recorder_of(app).stop()
    for name, expected in (("one", 1), ("two", 4)):
        web = make_app(apps[name], metrics_key_prefix=name).test_client()
        found = Exposition(web.get("/metrics").text)
        assert (
            found.total(f"{JOB}_completed_total") == found.total(f"{JOB}_started_total", customer_id=name) == expected
        )


def test_the_stamp_is_all_that_our_class_adds_to_a_message(redis: RedisServer) -> None:
    """A message of our class differs from a plain one by one header; headers of the caller survive."""
    headers = {}
    publisher = user_app(redis.url)
    for name in ("plain", "tests.support.apps.user_jobs.derived"):
        publisher.tasks[name].apply_async(("c",), task_id="same", headers={"mine": "kept"})
        with Redis.from_url(redis.url) as client:
            message = json.loads(client.rpop("celery") or b"")
        headers[name] = {key: value for key, value in message["headers"].items() if key != "task"}
    ours = headers["tests.support.apps.user_jobs.derived"]
    assert ours["mine"] == "kept"
    assert abs(ours.pop(PUBLISHED_HEADER) / 1e6 - time.time()) < 30
    assert ours == headers["plain"]
