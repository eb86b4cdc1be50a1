"""How to use celery_health_bp in a Flask application.

Three lines in ``create_app`` put health, tasks and stats under ``/api/celery``
and the metrics of all workers under ``/metrics``. By hand, from the root of the
repository, with a Redis on its usual port::

    celery -A examples.flask_app:celery_app worker
    flask --app examples.flask_app run
    flask --app examples.flask_app celery-health --verbose

``CELERY_BROKER_URL`` names another broker. With several web processes (gunicorn),
``PROMETHEUS_MULTIPROC_DIR`` must name an empty folder before they start: the HTTP
metrics are then those of all processes. The metrics of the jobs need no such folder.
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
    """The Celery application of this process."""
    app = Celery(
        "upstream",
        broker=os.environ.get("CELERY_BROKER_URL", "redis://localhost:6379/0"),
        include=["examples.tasks"],
    )
    app.conf.task_ignore_result = True
    app.conf.broker_connection_retry_on_startup = True
    # Settings that web processes and workers share; without them, the defaults.
    app.conf.celery_health = {"namespace": "upstream", "customer_argument": "customer_id"}
    return app


celery_app = make_celery()


def create_app() -> Flask:
    """The web application, with the health and the metrics of its Celery workers."""
    app = Flask(__name__)

    # The application's own HTTP metrics; path=None, since the middleware below serves them.
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
        """What an application does with Celery: hand the work over and answer at once."""
        from .tasks import generate_report_artifact

        return {"task_id": generate_report_artifact.delay(customer_id).id}, 202

    return app
