"""Counting in client processes: internal errors, several apps, and headers of users."""

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
    """A task for eager runs, whose app sends its counts only when the test does; one count is sent, one is not."""
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
    """Raise an error, in place of our code."""
    raise RuntimeError("injected")


def test_an_internal_error_while_a_scrape_sends_counts_leaves_the_totals(
    eager: Task, make_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape that fails to send this process's counts has the totals, and the next one counts the error."""
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


def test_an_internal_error_at_the_end_does_not_hide_unsent_counts(
    eager: Task, redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """If an internal error prevents the last flush, the log has the number of lost counts, and the store is closed."""
    with redis.client() as client:
        connections = len(client.client_list())
        with monkeypatch.context() as broken:
            broken.setattr(Ledger, "take", injected)
            with pytest.raises(RuntimeError, match="injected"):
                recorder_of(eager.app).stop()
        assert "2 counts could not be sent" in caplog.text
        wait_until(lambda: len(client.client_list()) < connections, "the store is disconnected", 5)
    recorder_of(eager.app).stop()


def test_two_apps_of_one_process_count_separately(redis: RedisServer, make_app: Any) -> None:
    """Two Celery apps of a process have separate totals under their own prefixes."""
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
        web = make_app(apps[name], metrics_key_prefix=name, timeout_seconds=0.5).test_client()
        found = Exposition(web.get("/metrics").text)
        assert (
            found.total(f"{JOB}_completed_total") == found.total(f"{JOB}_started_total", customer_id=name) == expected
        )


def test_our_task_class_adds_one_header_to_a_message(redis: RedisServer) -> None:
    """A message of ``MonitoredTask`` differs from a plain one by the time of publishing, and keeps other headers."""
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
