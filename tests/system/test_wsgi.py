"""The WSGI callables with a live worker: the application's own metrics, and the documented families."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from celery_health_bp import CeleryHealth, MetricsMiddleware, create_metrics_app
from tests.support.exposition import Exposition
from tests.support.servers import RedisServer
from tests.support.wsgi_client import StrictClient


@pytest.fixture
def redis(idle_fleet: RedisServer) -> RedisServer:
    """Return the Redis of the idle worker."""
    return idle_fleet


@pytest.fixture
def health(celery_app: Celery, make_health: Callable[..., CeleryHealth]) -> CeleryHealth:
    """Return a CeleryHealth with a short deadline."""
    return make_health(celery_app, timeout_seconds=1)


def test_metrics_of_the_application_join_the_exposition(health: CeleryHealth) -> None:
    """Counters of prometheus-flask-exporter and ours are in the same exposition."""
    app = Flask("web")
    registry = CollectorRegistry()
    PrometheusMetrics(app, path=None, registry=registry)
    app.add_url_rule("/page", view_func=lambda: "page")
    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health, registry=registry)  # type: ignore[method-assign]
    app.test_client().get("/page")
    found = Exposition(app.test_client().get("/metrics").text)
    assert found.get("flask_http_request_total", method="GET", status="200") == 1
    assert found.get("celery_workers") == 1


def test_families_have_the_documented_names_and_types(health: CeleryHealth) -> None:
    """Every documented family has its type, before any job has run."""
    found = Exposition(StrictClient(create_metrics_app(health)).get("/").text)
    kinds = ("started", "completed", "failed", "retried", "aborted", "discarded")
    expected = {f"upstream_background_job_{kind}": "counter" for kind in kinds}
    expected |= {f"upstream_background_job_{name}_seconds": "histogram" for name in ("duration", "queue_wait")}
    gauges = ["up", "tasks_active", "tasks_reserved", "tasks_scheduled", "pool_size"]
    expected |= {f"celery_worker_{name}": "gauge" for name in gauges}
    expected |= dict.fromkeys(("celery_workers", "celery_queue_length", "celery_health_status"), "gauge")
    expected |= dict.fromkeys(("celery_health_scrape_success", "celery_health_scrape_duration_seconds"), "gauge")
    assert expected.items() <= found.types.items()
    assert found.get("celery_health_status", status="healthy") == 1
    assert found.get("celery_worker_pool_size", hostname="worker1@testhost") == 2
    assert found.total("celery_health_scrape_success") == 3
