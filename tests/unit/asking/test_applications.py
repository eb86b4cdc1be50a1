"""The names by which an application recognises its own workers."""

from __future__ import annotations

from celery import Celery

from celery_health_bp import CeleryHealth
from celery_health_bp.asking.applications import own_names
from tests.support.client_apps import named_app


def test_two_applications_of_a_process_do_not_share_names() -> None:
    """Neither of two applications with a ``CeleryHealth`` has the other's name, before the first check of either."""
    with named_app("a", "memory://") as a, named_app("b", "memory://") as b:
        CeleryHealth(a), CeleryHealth(b)
        assert "b" not in (own_names(a) or {"b"})
        assert "a" not in (own_names(b) or {"a"})


def test_included_modules_name_an_application() -> None:
    """An app that includes modules of tasks, which only its workers import, has a name; a bare client has none."""
    with Celery("a", include=["a.tasks"], set_as_current=False) as app, Celery("b", set_as_current=False) as client:
        assert "a" in (own_names(app) or ())
        assert own_names(client) is None or "b" in own_names(client)
