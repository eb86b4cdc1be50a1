"""The Flask application of the tests."""

from __future__ import annotations

from flask import Flask

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint


def create_app(settings: Settings | None = None) -> Flask:
    """Return an application for ``tests.support.apps.jobs``; by default, settings come from the environment."""
    from tests.support.apps.jobs import app as celery_app

    health = CeleryHealth(lambda: celery_app, settings)
    app = Flask(__name__)
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)  # type: ignore[method-assign]
    return app


def used_app() -> Flask:
    """Return an application that has checked once: for tests of forks after the first use."""
    app = create_app()
    app.test_client().get("/api/celery/health/")
    return app
