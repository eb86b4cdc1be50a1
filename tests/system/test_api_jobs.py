"""The endpoints while jobs run and wait, with a foreign worker, and after a fork."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from urllib.request import urlopen

import pytest
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from tests.support.probes import BASE, get
from tests.support.processes import Worker, wait_until
from tests.support.servers import RedisServer


def test_a_long_queue_degrades_with_status_200(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """With 1,001 messages waiting, the status is ``degraded`` and the answer still 200."""
    for _ in range(1001):
        celery_app.send_task("tests.support.apps.jobs.work", queue="celery")
    start_worker(redis.url, "-Q", "other")
    status, body = get(client, "health/")
    assert (status, body["status"], body["queues"]) == (200, "degraded", {"celery": 1001, "other": 0})
    assert "Queue celery holds 1001 messages" in body["recommendations"][0]


def test_tasks_and_stats_show_running_and_scheduled_jobs(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """Running and scheduled jobs appear with id and time, are counted by task name, and show no arguments."""
    start_worker(redis.url)
    running = celery_app.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 20, "customer_id": "sekrit"})
    later = celery_app.send_task("tests.support.apps.jobs.fail", args=["sekrit"], countdown=600)
    wait_until(lambda: get(client, "stats/")[1]["total_running"] == 1, "one job runs")
    wait_until(lambda: get(client, "stats/")[1]["total_scheduled"] == 1, "one job is scheduled")
    _, tasks = get(client, "tasks/")
    assert set(tasks) == {"running", "scheduled", "running_count"}
    assert tasks["running_count"] == 1
    (run,), (wait,) = tasks["running"], tasks["scheduled"]
    assert isinstance(run.pop("time_start"), float)
    assert run == {"worker": "worker1@testhost", "task_name": "tests.support.apps.jobs.work", "task_id": running.id}
    assert re.match(r"\d{4}-\d\d-\d\dT", wait.pop("eta"))
    assert wait == {"worker": "worker1@testhost", "task_name": "tests.support.apps.jobs.fail", "task_id": later.id}
    assert get(client, "stats/")[1] == {
        "total_running": 1,
        "total_scheduled": 1,
        "by_task_name": {
            "tests.support.apps.jobs.work": {"running": 1, "scheduled": 0},
            "tests.support.apps.jobs.fail": {"running": 0, "scheduled": 1},
        },
        "queues": {"celery": 0},
    }
    for path in ("health/?verbose=1", "tasks/", "stats/"):
        assert "sekrit" not in client.get(f"{BASE}/{path}").text


def test_tasks_are_filtered_and_limited(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """``task_name`` and ``worker`` select jobs; ``limit`` shortens the list, not the count."""
    start_worker(redis.url)
    for _ in range(2):
        celery_app.send_task("tests.support.apps.jobs.work", kwargs={"seconds": 20})
    wait_until(lambda: get(client, "stats/")[1]["total_running"] == 2, "two jobs run")
    limited = get(client, "tasks/?limit=1")[1]
    assert (len(limited["running"]), limited["running_count"]) == (1, 2)
    for query, count in (
        ("task_name=tests.support.apps.jobs.work", 2),
        ("task_name=other", 0),
        ("worker=worker1@testhost", 2),
        ("worker=other", 0),
    ):
        assert get(client, f"tasks/?{query}")[1]["running_count"] == count


def test_a_worker_without_the_package_is_shown(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """A worker without this package appears in ``health/``, ``tasks/`` and ``stats/``."""
    start_worker(redis.url, app="tests.support.apps.foreign:app")
    celery_app.send_task("tests.support.apps.foreign.nap", args=[20])
    wait_until(lambda: get(client, "tasks/")[1]["running_count"] == 1, "its job is shown")
    assert get(client, "health/")[1]["workers"]["active_workers"] == ["worker1@testhost"]
    assert get(client, "stats/")[1]["by_task_name"] == {
        "tests.support.apps.foreign.nap": {"running": 1, "scheduled": 0}
    }


@contextmanager
def forked_server(app: Flask) -> Iterator[str]:
    """Fork a server into a child process and yield its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    child = get_context("fork").Process(target=server.serve_forever)
    child.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        child.kill()
        child.join()
        child.close()
        server.server_close()


@pytest.mark.leaves("broker", reason="the server's process is killed")
def test_a_server_forked_from_a_used_application_answers(
    redis: RedisServer, start_worker: Callable[..., Worker], app: Flask, client: FlaskClient
) -> None:
    """An application used before the fork gives right answers in the child and in the parent."""
    start_worker(redis.url)
    assert get(client, "health/")[0] == 200
    with forked_server(app) as url:
        for _ in range(2):
            with urlopen(f"{url}{BASE}/health/", timeout=10) as answer:
                assert json.load(answer)["workers"]["worker_count"] == 1
            assert get(client, "health/")[1]["workers"]["worker_count"] == 1
