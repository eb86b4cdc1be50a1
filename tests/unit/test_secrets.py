"""Responses contain no part of a password."""

from __future__ import annotations

import pytest
from celery import Celery

from celery_health_bp import CeleryHealth, Settings, create_api_app, create_metrics_app


@pytest.mark.parametrize("remote_control", [True, False])
@pytest.mark.parametrize("password", ["se/cret", "se#cret", "se?cret", "12/cret", "se@cret", "se%zzcret", "12;secret"])
def test_no_fragment_of_an_unescaped_password_is_shown(password: str, remote_control: bool) -> None:
    """An unescaped character that splits the URL puts no part of the password into the response."""
    from werkzeug.test import Client
    from werkzeug.wrappers import Response

    celery_app = Celery("upstream", broker=f"redis://:{password}@127.0.0.1:1/0")
    celery_app.conf.worker_enable_remote_control = remote_control
    health = CeleryHealth(lambda: celery_app, Settings(timeout_seconds=0.5))
    answer = Client(create_api_app(health), Response).get("/health/?verbose=1")
    assert answer.status_code == 503
    assert "cret" not in answer.text
    assert ":12" not in answer.text
    assert "cret" not in Client(create_metrics_app(health), Response).get("/").text
