"""The Django app configuration: registers the system check."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..errors import ConfigurationError
from . import health_of_project


class CeleryHealthConfig(AppConfig):  # type: ignore[misc]  # django ships no types
    """The app ``celery_health_bp.django`` for ``INSTALLED_APPS``."""

    name = "celery_health_bp.django"
    label = "celery_health"
    verbose_name = "Celery health"

    def ready(self) -> None:
        """Register the check of ``CELERY_HEALTH`` for ``manage.py check``."""
        register(check_settings)


def check_settings(**_: Any) -> list[CheckMessage]:
    """Return an error that names the wrong setting, if there is one; does not connect to the broker."""
    try:
        health_of_project()
    except ConfigurationError as exc:
        return [Error(str(exc), hint="See CELERY_HEALTH in the settings.", id="celery_health.E001")]
    return []
