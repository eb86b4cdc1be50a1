"""The endpoints on a live fleet: every body and status of the contract."""

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
from tests.support.versions import DIFFERENCES

POOL = "prefork" if DIFFERENCES["pool_implementation"].holds else None


def test_healthy_body_is_the_contracts(
    client: FlaskClient, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """With one worker, ``health/`` answers 200 and exactly the keys of the contract."""
    start_worker(redis.url)
    assert get(client, "health/") == (
        200,
        {
            "status": "healthy",
            "workers": {"healthy": True, "active_workers": ["worker1@testhost"], "worker_count": 1},
            "queues": {"celery": 0},
            "recommendations": [],
        },
    )


def test_a_long_queue_degrades_with_status_200(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """1,001 messages waiting make ``degraded``, which is still 200."""
    for _ in range(1001):
        celery_app.send_task("tests.support.apps.jobs.work", queue="celery")
    start_worker(redis.url, "-Q", "other")
    status, body = get(client, "health/")
    assert (status, body["status"], body["queues"]) == (200, "degraded", {"celery": 1001, "other": 0})
    assert "Queue celery holds 1001 messages" in body["recommendations"][0]


def test_verbose_adds_details_and_nothing_else(
    client: FlaskClient, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """``?verbose=1`` adds one key, with what each worker said of itself."""
    worker = start_worker(redis.url)
    _, plain = get(client, "health/")
    _, verbose = get(client, "health/?verbose=1")
    assert get(client, "health/?verbose")[1].keys() == verbose.keys()
    details = verbose.pop("details")
    assert verbose == plain
    (found,) = details["workers"]
    assert (found["name"], found["pool"], found["concurrency"]) == (worker.name, POOL, 2)
    assert (found["queues"], found["active"], found["reserved"]) == (["celery"], 0, 0)
    assert len(found["processes"]) == 2
    assert found["uptime_seconds"] >= 0
    assert details["duration_seconds"] > 0
    assert details["age_seconds"] >= 0


def test_tasks_and_stats_show_what_runs_and_waits(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """Running and scheduled jobs of a worker appear with id and time, and are counted per name."""
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
    """Filters choose by task and worker; a limit shortens the list, not the count."""
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


def test_a_foreign_worker_is_shown_too(
    client: FlaskClient, celery_app: Celery, redis: RedisServer, start_worker: Callable[..., Worker]
) -> None:
    """A worker with none of our code is in ``health/``, ``tasks/`` and ``stats/``."""
    start_worker(redis.url, app="tests.support.apps.foreign:app")
    celery_app.send_task("tests.support.apps.foreign.nap", args=[20])
    wait_until(lambda: get(client, "tasks/")[1]["running_count"] == 1, "its job is shown")
    assert get(client, "health/")[1]["workers"]["active_workers"] == ["worker1@testhost"]
    assert get(client, "stats/")[1]["by_task_name"] == {
        "tests.support.apps.foreign.nap": {"running": 1, "scheduled": 0}
    }


@pytest.mark.parametrize("path", ["health", "health/live", "tasks", "stats"])
def test_both_slash_forms_and_head_are_answered(
    client: FlaskClient, redis: RedisServer, start_worker: Callable[..., Worker], path: str
) -> None:
    """With and without the slash: the same 200, no redirect, HEAD without a body, never stored."""
    start_worker(redis.url)
    for form in (path, f"{path}/"):
        response = client.get(f"{BASE}/{form}")
        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
        head = client.head(f"{BASE}/{form}")
        assert (head.status_code, head.data) == (200, b"")


class TestAccessToken:
    """With ``access_token`` set."""

    @pytest.fixture
    def app(self, celery_app: Celery, make_app: Callable[..., Flask]) -> Flask:
        """An application that wants a token."""
        return make_app(celery_app, cache_seconds=0, access_token="s3cret")

    @pytest.mark.parametrize("path", [f"{BASE}/tasks/", f"{BASE}/stats/", f"{BASE}/health/?verbose", "/metrics"])
    @pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic s3cret", "Bearer ", "Bearer s3cret\xe9", "s3cret"])
    def test_a_wrong_token_is_401(self, client: FlaskClient, redis: RedisServer, path: str, header: str | None) -> None:
        """Without the right token the answer is 401, before anybody is asked."""
        redis.stop()
        response = client.get(path, headers={"Authorization": header} if header else {})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert response.get_json()["error"]["code"] == "unauthorized"

    def test_the_token_in_the_query_string_is_no_token(self, client: FlaskClient) -> None:
        """Query strings end in logs: a token there opens nothing."""
        assert client.get(f"{BASE}/stats/?access_token=s3cret").status_code == 401

    @pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
    def test_the_right_token_opens(
        self, client: FlaskClient, redis: RedisServer, start_worker: Callable[..., Worker], scheme: str
    ) -> None:
        """With the token every endpoint answers in full."""
        start_worker(redis.url)
        headers = {"Authorization": f"{scheme} s3cret"}
        assert client.get("/metrics", headers=headers).status_code == 200
        assert set(get(client, "stats/", headers=headers)[1]) >= {"total_running"}
        assert "details" in get(client, "health/?verbose=1", headers=headers)[1]
        assert "workers" in get(client, "health/", headers=headers)[1]

    def test_anonymous_callers_get_the_bare_status(self, client: FlaskClient) -> None:
        """``health/`` tells a stranger the status and nothing more."""
        assert get(client, "health/") == (503, {"status": "unhealthy"})


@contextmanager
def forked_server(app: Flask) -> Iterator[str]:
    """URL of a server in a child process, forked here and now."""
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
    """An application that had asked before the fork answers rightly in the child, and still in the parent."""
    start_worker(redis.url)
    assert get(client, "health/")[0] == 200
    with forked_server(app) as url:
        for _ in range(2):
            with urlopen(f"{url}{BASE}/health/", timeout=10) as answer:
                assert json.load(answer)["workers"]["worker_count"] == 1
            assert get(client, "health/")[1]["workers"]["worker_count"] == 1
