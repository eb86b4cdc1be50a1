"""The WSGI callables: paths, methods, content types, and PEP 3333."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from celery import Celery
from flask import Flask
from prometheus_client import CollectorRegistry, Counter
from prometheus_flask_exporter import PrometheusMetrics

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_api_app, create_metrics_app, mount
from tests.support.exposition import Exposition
from tests.support.servers import RedisServer
from tests.support.wsgi_client import StrictClient


@pytest.fixture
def health(celery_app: Celery, make_health: Callable[..., CeleryHealth]) -> CeleryHealth:
    """Return health with a short deadline: no worker answers in most tests."""
    return make_health(celery_app, timeout_seconds=0.2)


def hello(environ: Any, start_response: Any) -> Iterable[bytes]:
    """Another WSGI application, whose body is its script name and path."""
    body = f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body] if environ["REQUEST_METHOD"] == "GET" else []


def test_the_api_app_serves_its_endpoints_at_its_root(health: CeleryHealth) -> None:
    """``create_api_app`` serves health, tasks and stats, for GET and HEAD, with and without the slash."""
    api = StrictClient(create_api_app(health))
    for path, status in (("/health", 503), ("/health/live/", 200), ("/tasks/", 503), ("/stats", 503), ("/x", 404)):
        assert api.get(path).status_code == status
        head = api.head(path)
        assert (head.status_code, head.data) == (status, b"")


def test_the_metrics_app_serves_its_root_only(health: CeleryHealth) -> None:
    """``create_metrics_app`` serves GET and HEAD of its root; other paths are 404, other methods 405."""
    metrics = StrictClient(create_metrics_app(health))
    assert "celery_health_status" in metrics.get("/").text
    assert metrics.head("/").status_code == 200
    assert metrics.get("/x").status_code == 404
    assert metrics.post("/").status_code == 405


def test_mount_serves_both_beside_an_application(health: CeleryHealth) -> None:
    """``mount`` serves its two prefixes, and passes every other path to the application."""
    mounted = StrictClient(mount(hello, health))
    assert mounted.get("/api/celery/health/live/").json == {"status": "alive"}
    assert "celery_health_status" in mounted.get("/metrics").text
    assert mounted.get("/metricsx").text == "|/metricsx"
    assert mounted.get("/api/celeryx").text == "|/api/celeryx"


def test_mount_accepts_other_paths(health: CeleryHealth) -> None:
    """``api_prefix`` and ``metrics_path`` replace the default paths."""
    mounted = StrictClient(mount(hello, health, api_prefix="/ops", metrics_path="/ops-metrics"))
    assert mounted.get("/ops/health/live").status_code == 200
    assert "celery_health_status" in mounted.get("/ops-metrics").text
    assert mounted.get("/metrics").text == "|/metrics"


@pytest.mark.parametrize(("prefix", "path"), [("/ops/", "/m/"), ("ops", "m"), ("/ops", "/m")])
def test_mount_answers_with_and_without_the_slash(health: CeleryHealth, prefix: str, path: str) -> None:
    """Both paths are served with and without the trailing slash, however they are given."""
    mounted = StrictClient(mount(hello, health, api_prefix=prefix, metrics_path=path))
    for form in ("/m", "/m/"):
        assert "celery_health_status" in mounted.get(form).text
    assert mounted.get("/ops/health/live").json == mounted.get("/ops/health/live/").json == {"status": "alive"}


@pytest.mark.parametrize("path", ["/", "/metrics/", "/metrics/x", "/Metrics", "/metricsx"])
def test_the_middleware_matches_its_path_exactly(health: CeleryHealth, path: str) -> None:
    """Every other path is the application's."""
    assert StrictClient(MetricsMiddleware(hello, health)).get(path).text == f"|{path}"


def test_the_middleware_serves_get_and_head(health: CeleryHealth) -> None:
    """GET returns the exposition, HEAD its headers, and another method is 405 with the error body."""
    metrics = StrictClient(MetricsMiddleware(hello, health, path="/m"))
    got, head, posted = metrics.get("/m"), metrics.head("/m"), metrics.post("/m")
    assert (got.status_code, got.headers["Cache-Control"]) == (200, "no-store")
    assert (head.status_code, head.data, head.headers["Content-Type"]) == (200, b"", got.headers["Content-Type"])
    assert (posted.status_code, posted.json) == (
        405,
        {"error": {"code": "method_not_allowed", "message": "Only GET and HEAD are answered"}},
    )


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=abc", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=abc", ("text/plain; version=0.0.4", "application/openmetrics-text")),
        ("application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_an_invalid_accept_header_gets_the_text_format(
    health: CeleryHealth, accept: str | None, content_type: str | tuple[str, str]
) -> None:
    """A client that accepts OpenMetrics gets it, any other one the text format."""
    answer = StrictClient(create_metrics_app(health)).get("/", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(content_type)
    assert answer.text.endswith("# EOF\n") == answer.headers["Content-Type"].startswith("application")


@pytest.mark.parametrize(
    ("path", "given", "warnings"), [("/metrics", False, 1), ("/metrics", True, 0), (None, False, 0)]
)
def test_hidden_metrics_of_the_application_are_logged_once(
    health: CeleryHealth, caplog: pytest.LogCaptureFixture, path: str | None, given: bool, warnings: int
) -> None:
    """If an exporter of the application has our path, the first scrape logs that it is hidden, and what to do."""
    app = Flask("web")
    registry = CollectorRegistry()
    app.wsgi_app = MetricsMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, health, registry=registry if given else None
    )
    PrometheusMetrics(app, path=path, registry=registry)  # after the middleware, as in most applications
    for _ in range(2):
        assert app.test_client().get("/metrics").status_code == 200
    logged = [record.getMessage() for record in caplog.records if record.name == "celery_health_bp.web.wsgi"]
    hidden = "/metrics is a route of the application too, and not reached: its metrics join ours with "
    assert logged == [f"{hidden}MetricsMiddleware(..., registry=...)"] * warnings


def test_a_multiprocess_folder_replaces_this_process_s_memory(
    health: CeleryHealth, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``PROMETHEUS_MULTIPROC_DIR`` the files of all processes are exposed, not the registry of this one."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    Counter("only_here", "In this process's memory.", registry=registry).inc()
    answer = StrictClient(MetricsMiddleware(hello, health, registry=registry)).get("/metrics")
    assert "celery_health_status" in answer.text
    assert "only_here" not in answer.text


@pytest.mark.parametrize(("namespace", "prefix"), [("shop", "shop_background_job"), ("", "background_job")])
def test_the_namespace_can_be_set(celery_app: Celery, namespace: str, prefix: str) -> None:
    """The names of the job families start with ``namespace``, which may be empty."""
    health = CeleryHealth(lambda: celery_app, Settings(namespace=namespace, timeout_seconds=0.3))
    text = StrictClient(create_metrics_app(health)).get("/").text
    health.close()
    assert f"\n# TYPE {prefix}_started_total counter\n" in text


def test_a_scrape_without_a_broker_is_200(health: CeleryHealth, redis: RedisServer) -> None:
    """With the broker down a scrape is 200, and ``celery_health_scrape_success`` is 0 for each source."""
    redis.stop()
    answer = StrictClient(create_metrics_app(health)).get("/")
    found = Exposition(answer.text)
    assert answer.status_code == 200
    assert found.total("celery_health_scrape_success") == 0
    assert found.get("celery_health_status", status="unhealthy") == 1
    assert found.get("celery_workers") is None


def test_gzip_is_supported(health: CeleryHealth) -> None:
    """With ``Accept-Encoding: gzip`` the body is compressed, as by prometheus_client."""
    answer = StrictClient(create_metrics_app(health)).get("/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"celery_health_status" in gzip.decompress(answer.data)
