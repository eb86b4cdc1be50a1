"""A Flask application that uses celery_health_bp.

Three lines in ``create_app`` add health, tasks and stats under ``/api/celery``, and the metrics of all workers
under ``/metrics``. To run it from the root of the repository, with Redis on port 6379::

    celery -A examples.flask_app:celery_app worker
    flask --app examples.flask_app run
    flask --app examples.flask_app celery-health --verbose

Set ``CELERY_BROKER_URL`` to use another broker. With several web processes (gunicorn), set
``PROMETHEUS_MULTIPROC_DIR`` to an empty folder before they start, so that the HTTP metrics include all of them.
The job metrics do not need it.
"""

from __future__ import annotations

import os
from functools import cache

from celery import Celery
from flask import Flask
from prometheus_client import CollectorRegistry
from prometheus_flask_exporter import PrometheusMetrics

from celery_health_bp import CeleryHealth, MetricsMiddleware, create_blueprint


@cache
def make_celery() -> Celery:
    """Return the Celery app of this process."""
    app = Celery(
        "upstream",
        broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0"),
        include=["examples.tasks"],
    )
    app.conf.task_ignore_result = True
    app.conf.broker_connection_retry_on_startup = True
    # Settings for web processes and workers; these are the defaults.
    app.conf.celery_health = {"namespace": "upstream", "customer_argument": "customer_id"}
    return app


celery_app = make_celery()


def create_app() -> Flask:
    """Return the web application, with health and metrics of its Celery workers."""
    app = Flask(__name__)

    # The application's own HTTP metrics. path=None: the middleware below serves them.
    registry = CollectorRegistry()
    PrometheusMetrics(app, path=None, group_by="endpoint", registry=registry)

    health = CeleryHealth(make_celery)
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health, registry=registry)  # type: ignore[method-assign]

    @app.get("/")
    def index() -> dict[str, list[str]]:
        return {"see": ["/api/celery/health/", "/api/celery/tasks/", "/api/celery/stats/", "/metrics"]}

    @app.post("/customers/<customer_id>/reports")
    def order_report(customer_id: str) -> tuple[dict[str, str], int]:
        """Start a background job and answer at once."""
        from .tasks import generate_report_artifact

        return {"task_id": generate_report_artifact.delay(customer_id).id}, 202

    return app
