"""Two applications in one Redis database: each is judged by its own workers."""

from __future__ import annotations

from celery import Celery

from celery_health_bp import CeleryHealth
from celery_health_bp.asking.applications import own_names
from tests.support.client_apps import named_app


def test_applications_of_one_process_are_kept_apart_from_the_start() -> None:
    """Of two applications with a health each, the one does not count the other's workers, whichever is asked first."""
    with named_app("a", "memory://") as a, named_app("b", "memory://") as b:
        CeleryHealth(a), CeleryHealth(b)
        assert "b" not in (own_names(a) or {"b"})
        assert "a" not in (own_names(b) or {"a"})


def test_an_application_is_known_by_the_modules_that_it_includes() -> None:
    """An app whose tasks stand in modules that only its workers import is the application, and no bare client."""
    with Celery("a", include=["a.tasks"], set_as_current=False) as app, Celery("b", set_as_current=False) as client:
        assert "a" in (own_names(app) or ())
        assert own_names(client) is None or "b" in own_names(client)
