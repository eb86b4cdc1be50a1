"""The endpoints on a live fleet: every body and status of the contract."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient

from tests.support.probes import BASE, get
from tests.support.servers import RedisServer


def test_without_workers_the_body_is_the_contracts(client: FlaskClient) -> None:
    """With a broker and no worker, ``health/`` answers 503 and exactly the keys of the contract."""
    assert get(client, "health/") == (
        503,
        {
            "status": "unhealthy",
            "workers": {"healthy": False, "active_workers": [], "error": "No active Celery workers found"},
            "queues": {"celery": 0},
            "recommendations": ["Start Celery workers: celery -A upstream worker --loglevel=info"],
        },
    )


def test_without_broker_the_body_says_so(client: FlaskClient, redis: RedisServer) -> None:
    """With no broker, ``health/`` answers 503, names it, and no length pretends to be known."""
    redis.stop()
    status, body = get(client, "health/")
    assert status == 503
    assert body["workers"]["error"] == f"Broker redis://127.0.0.1:{redis.port} refused the connection"
    assert body["queues"] == {"celery": -1}


@pytest.mark.parametrize("path", ["tasks/", "stats/"])
def test_a_failure_never_looks_like_no_tasks(client: FlaskClient, redis: RedisServer, path: str) -> None:
    """Without workers, and without a broker, the answer is 503 with an error body."""
    status, body = get(client, path)
    assert (status, body["error"]["code"]) == (503, "deadline_exceeded")
    redis.stop()
    status, body = get(client, path)
    assert (status, body["error"]["code"]) == (503, "broker_unreachable")
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}


def test_liveness_asks_nobody(client: FlaskClient, redis: RedisServer) -> None:
    """``health/live/`` is 200 with the broker gone."""
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
    """Every refusal below the prefix has its status, its stable code and the error body."""
    response = client.open(f"{BASE}{path}", method=method)
    assert (response.status_code, response.get_json()["error"]["code"]) == (status, code)
    assert response.headers["Cache-Control"] == "no-store"
    assert ("Allow" in response.headers) == (status == 405)


def test_paths_outside_the_prefix_are_the_applications(client: FlaskClient) -> None:
    """Our error body is not forced on the application's own 404."""
    assert client.get("/elsewhere").mimetype == "text/html"
