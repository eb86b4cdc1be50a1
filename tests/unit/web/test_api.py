"""Errors of the application's own code."""

from __future__ import annotations

import pytest
from celery import Celery
from flask import Flask

from celery_health_bp import CeleryHealth, MetricsMiddleware, Settings, create_blueprint
from tests.support.probes import PATH


@pytest.mark.parametrize("path", [PATH, "/metrics"])
def test_a_factory_that_raises_is_a_500_without_details(path: str, caplog: pytest.LogCaptureFixture) -> None:
    """The body is our error body with a fixed message; the traceback is in the log only."""

    def factory() -> Celery:
        raise RuntimeError("s3cret")

    health = CeleryHealth(factory, Settings())
    app = Flask("web")
    app.register_blueprint(create_blueprint(health), url_prefix="/api/celery")
    app.wsgi_app = MetricsMiddleware(app.wsgi_app, health)  # type: ignore[method-assign]
    answer = app.test_client().get(path)
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (500, "internal_error")
    assert "s3cret" not in answer.text
    assert "RuntimeError: s3cret" in caplog.text
