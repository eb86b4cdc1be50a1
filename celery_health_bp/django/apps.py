"""The Django app: registers the system check."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from ..errors import ConfigurationError
from . import health_of_project


class CeleryHealthConfig(AppConfig):  # type: ignore[misc]  # django ships no types
    """``celery_health_bp.django`` in ``INSTALLED_APPS``."""

    name = "celery_health_bp.django"
    label = "celery_health"
    verbose_name = "Celery health"

    def ready(self) -> None:
        """Have ``manage.py check`` look at ``CELERY_HEALTH``."""
        register(check_settings)


def check_settings(**_: Any) -> list[CheckMessage]:
    """An error that names the wrong setting; asks no worker."""
    try:
        health_of_project()
    except ConfigurationError as exc:
        return [Error(str(exc), hint="See CELERY_HEALTH in the settings.", id="celery_health.E001")]
    return []
