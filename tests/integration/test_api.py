"""The endpoints without workers and without a broker: bodies, statuses and error codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient

from tests.support.probes import BASE, get
from tests.support.servers import RedisServer


@pytest.fixture
def app(celery_app: Celery, make_app: Callable[..., Flask]) -> Flask:
    """The application behind ``client``; its checks find no worker, so each takes the whole timeout."""
    return make_app(celery_app, cache_seconds=0, timeout_seconds=0.5)


def test_without_workers_health_has_the_documented_body(client: FlaskClient) -> None:
    """With a broker and no worker, ``health/`` is 503 with exactly the documented keys."""
    assert get(client, "health/") == (
        503,
        {
            "status": "unhealthy",
            "workers": {"healthy": False, "active_workers": [], "error": "No active Celery workers found"},
            "queues": {"celery": 0},
            "recommendations": ["Start Celery workers: celery -A upstream worker --loglevel=info"],
        },
    )


def test_without_a_broker_health_names_it(client: FlaskClient, redis: RedisServer) -> None:
    """With no broker, ``health/`` is 503, its error names the broker, and each queue length is -1."""
    redis.stop()
    status, body = get(client, "health/")
    assert status == 503
    assert body["workers"]["error"] == f"Broker redis://127.0.0.1:{redis.port} refused the connection"
    assert body["queues"] == {"celery": -1}


@pytest.mark.parametrize("path", ["tasks/", "stats/"])
def test_a_failure_does_not_look_like_no_tasks(client: FlaskClient, redis: RedisServer, path: str) -> None:
    """Without workers, and without a broker, ``tasks/`` and ``stats/`` are 503 with an error body."""
    status, body = get(client, path)
    assert (status, body["error"]["code"]) == (503, "deadline_exceeded")
    redis.stop()
    status, body = get(client, path)
    assert (status, body["error"]["code"]) == (503, "broker_unreachable")
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}


def test_liveness_does_not_need_the_broker(client: FlaskClient, redis: RedisServer) -> None:
    """``health/live/`` is 200 while the broker is down."""
    redis.stop()
    assert get(client, "health/live/") == (200, {"status": "alive"})


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "", 404, "not_found"),
        ("GET", "/", 404, "not_found"),
        ("GET", "/nothing", 404, "not_found"),
        ("GET", "/health//", 404, "not_found"),
        ("POST", "/health/", 405, "method_not_allowed"),
        ("OPTIONS", "/tasks", 405, "method_not_allowed"),
        ("BREW", "/stats/", 405, "method_not_allowed"),
        ("GET", "/tasks/?limit=-1", 400, "invalid_parameter"),
        ("GET", "/tasks/?limit=ten", 400, "invalid_parameter"),
        ("GET", "/health/?verbose=perhaps", 400, "invalid_parameter"),
    ],
)
def test_refusals_have_the_error_body(client: FlaskClient, method: str, path: str, status: int, code: str) -> None:
    """A refused request has its status, its documented code, ``no-store``, and ``Allow`` if it is a 405."""
    response = client.open(f"{BASE}{path}", method=method)
    assert (response.status_code, response.get_json()["error"]["code"]) == (status, code)
    assert response.headers["Cache-Control"] == "no-store"
    assert ("Allow" in response.headers) == (status == 405)


def test_paths_outside_the_prefix_belong_to_the_application(client: FlaskClient) -> None:
    """A 404 outside the prefix is the application's HTML page, not our error body."""
    assert client.get("/elsewhere").mimetype == "text/html"
