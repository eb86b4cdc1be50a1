"""The endpoints with an idle worker, which all tests of this file share: every documented body and status."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from flask.testing import FlaskClient

from tests.support.probes import BASE, get
from tests.support.servers import RedisServer
from tests.support.versions import DIFFERENCES

POOL = "prefork" if DIFFERENCES["pool_implementation"].holds else None


@pytest.fixture
def redis(idle_fleet: RedisServer) -> RedisServer:
    """Return the Redis of the idle worker."""
    return idle_fleet


def test_the_healthy_body_is_the_documented_one(client: FlaskClient) -> None:
    """With one worker, ``health/`` answers 200 and exactly the documented body."""
    assert get(client, "health/") == (
        200,
        {
            "status": "healthy",
            "workers": {"healthy": True, "active_workers": ["worker1@testhost"], "worker_count": 1},
            "queues": {"celery": 0},
            "recommendations": [],
        },
    )


def test_verbose_adds_details_and_nothing_else(client: FlaskClient) -> None:
    """``?verbose=1`` adds only the key ``details``, with the facts that each worker reports."""
    _, plain = get(client, "health/")
    _, verbose = get(client, "health/?verbose=1")
    assert get(client, "health/?verbose")[1].keys() == verbose.keys()
    details = verbose.pop("details")
    assert verbose == plain
    (found,) = details["workers"]
    assert (found["name"], found["pool"], found["concurrency"]) == ("worker1@testhost", POOL, 2)
    assert (found["queues"], found["active"], found["reserved"]) == (["celery"], 0, 0)
    assert len(found["processes"]) == 2
    assert found["uptime_seconds"] >= 0
    assert details["duration_seconds"] > 0
    assert details["age_seconds"] >= 0


@pytest.mark.parametrize("path", ["health", "health/live", "tasks", "stats"])
def test_every_path_takes_head_and_an_optional_slash(client: FlaskClient, path: str) -> None:
    """With and without the slash, GET is 200 without a redirect, HEAD has no body, and nothing may be cached."""
    for form in (path, f"{path}/"):
        response = client.get(f"{BASE}/{form}")
        assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
        head = client.head(f"{BASE}/{form}")
        assert (head.status_code, head.data) == (200, b"")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_the_right_token_gives_full_answers(celery_app: Celery, make_app: Callable[..., Flask], scheme: str) -> None:
    """With the token, every endpoint gives its full answer."""
    client = make_app(celery_app, cache_seconds=0, access_token="s3cret").test_client()
    headers = {"Authorization": f"{scheme} s3cret"}
    assert client.get("/metrics", headers=headers).status_code == 200
    assert set(get(client, "stats/", headers=headers)[1]) >= {"total_running"}
    assert "details" in get(client, "health/?verbose=1", headers=headers)[1]
    assert "workers" in get(client, "health/", headers=headers)[1]
