"""The endpoints with ``access_token`` set, for callers without the right token."""

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
    """Return an application with an access token."""
    return make_app(celery_app, cache_seconds=0, timeout_seconds=0.5, access_token="s3cret")


@pytest.mark.parametrize("path", [f"{BASE}/tasks/", f"{BASE}/stats/", f"{BASE}/health/?verbose", "/metrics"])
@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic s3cret", "Bearer ", "Bearer s3cret\xe9", "s3cret"])
def test_a_wrong_token_is_401(client: FlaskClient, redis: RedisServer, path: str, header: str | None) -> None:
    """Without the right token the answer is 401, also when the broker is down."""
    redis.stop()
    response = client.get(path, headers={"Authorization": header} if header else {})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert response.get_json()["error"]["code"] == "unauthorized"


def test_a_token_in_the_query_string_is_401(client: FlaskClient) -> None:
    """A token in the query string is not accepted, since query strings are logged."""
    assert client.get(f"{BASE}/stats/?access_token=s3cret").status_code == 401


def test_anonymous_callers_get_the_bare_status(client: FlaskClient) -> None:
    """Without the token, ``health/`` answers with the status only."""
    assert get(client, "health/") == (503, {"status": "unhealthy"})
