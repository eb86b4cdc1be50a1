"""Hostile requests: no 5xx, and our error body on every 4xx."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from celery import Celery
from flask import Flask
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from werkzeug.test import create_environ, run_wsgi_app

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint, mount
from tests.support.nodes import ScriptedNode
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

ENDPOINTS = ["health", "health/", "health/live/", "tasks/", "stats/", ""]
PARAMETERS = ["verbose", "limit", "task_name", "worker", "format"]
#: Without Host: Flask refuses a malformed one before it calls a blueprint.
HEADERS = ["ACCEPT", "ACCEPT_ENCODING", "AUTHORIZATION", "IF_NONE_MATCH", "RANGE", "X_FORWARDED_FOR", "COOKIE"]
CODES = {"unauthorized", "invalid_parameter", "not_found", "method_not_allowed"}

#: WSGI passes bytes as latin-1.
anything = st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=40)
paths = st.one_of(
    st.sampled_from(["/metrics", *(f"/api/celery/{path}" for path in ENDPOINTS)]),
    st.builds("/api/celery/{}".format, anything),
    st.builds("/api/celery/{}{}".format, st.sampled_from(ENDPOINTS), anything),
)
pairs = st.builds("{}={}".format, st.one_of(st.sampled_from(PARAMETERS), anything), anything)
queries = st.one_of(anything, st.lists(pairs, max_size=4).map("&".join))
accepts = st.builds(
    "{};{}={}".format,
    st.sampled_from(["text/plain", "application/openmetrics-text", "*/*", "text/html"]),
    st.sampled_from(["version", "q", "escaping", "charset"]),
    st.one_of(st.sampled_from(["abc", "0.0.4", "1.0.0", "", "9" * 400, "-1", "allow-utf-8"]), anything),
)
headers = st.dictionaries(st.sampled_from(HEADERS), st.one_of(anything, accepts), max_size=4)
methods = st.one_of(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "CONNECT", "get"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8),
)


def in_flask(health: CeleryHealth) -> WSGIApplication:
    """Return a Flask application with our blueprint and middleware."""
    app = Flask("web")
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    return MetricsMiddleware(app.wsgi_app, health)


def mounted(health: CeleryHealth) -> WSGIApplication:
    """Return another application with our WSGI applications mounted beside it."""
    return mount(Flask("web").wsgi_app, health)


@pytest.fixture(params=[None, "secret"], ids=["open", "guarded"])
def health(request: pytest.FixtureRequest, celery_app: Celery) -> Iterator[CeleryHealth]:
    """Health with a cached healthy report: only the request can cause a 5xx."""
    settings = Settings(cache_seconds=600, metrics_store="control", access_token=request.param)
    health = CeleryHealth(lambda: celery_app, settings)
    with ScriptedNode(celery_app, "node1@testhost"):
        wait_until(lambda: health.check().status == "healthy", "a healthy report")
        yield health
    health.close()


def call(
    app: WSGIApplication, method: str, path: str, query: str, given_headers: dict[str, str]
) -> tuple[int, bytes, Any]:
    """Send a request as a WSGI server passes it, and return status, body and headers."""
    environ = create_environ(method="GET")
    environ.update(REQUEST_METHOD=method, PATH_INFO=path, QUERY_STRING=query)
    environ.update({f"HTTP_{name}": value for name, value in given_headers.items()})
    body, status, headers = run_wsgi_app(app, environ, buffered=True)
    return int(status.split()[0]), b"".join(body), headers


@pytest.mark.parametrize("wrap", [in_flask, pytest.param(mounted, marks=pytest.mark.slow)])
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(method="GET", path="/metrics", query="", given_headers={"ACCEPT": "text/plain;version=abc"})
@example(method="GET", path="/api/celery/health/", query="verbose=\xff", given_headers={})
@example(method="GET", path="/api/celery//health", query="", given_headers={})
@example(method="GET", path="/api/celery///\n", query="", given_headers={})
@example(method="GET", path="/api/celery/tasks/", query="limit=" + "9" * 5000, given_headers={})
@example(method="GET", path="/api/celery/tasks/", query="", given_headers={"HOST": "[::1"})
@example(method="GET", path="/api/celery/stats/", query="", given_headers={"AUTHORIZATION": "Bearer \xff"})
@given(method=methods, path=paths, query=queries, given_headers=headers)
def test_no_request_causes_a_server_error(
    wrap: Callable[[CeleryHealth], WSGIApplication],
    health: CeleryHealth,
    method: str,
    path: str,
    query: str,
    given_headers: dict[str, str],
) -> None:
    """For any method, path, query and header the status is 200 or 4xx, and every 4xx has our error body."""
    status, body, answered = call(wrap(health), method, path, query, given_headers)
    assert status == 200 or 400 <= status < 500, (status, body)
    if status >= 400 and method != "HEAD":
        error = json.loads(body)["error"]
        assert error["code"] in CODES
        assert error["message"]
        assert answered["Cache-Control"] == "no-store"
