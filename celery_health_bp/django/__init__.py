"""The Django app: a management command and a system check. The endpoints do not need it.

The setting ``CELERY_HEALTH`` is a dict with the fields of ``Settings``, and ``app``: the Celery app or its
dotted path. Without ``app``, the project's default app is used.
"""

from __future__ import annotations

from typing import Any

from celery import Celery, current_app
from kombu.utils.imports import symbol_by_name

try:
    from django.conf import settings as django_settings
except ModuleNotFoundError as _no_django:
    raise ModuleNotFoundError("Django is not installed: pip install 'celery-health-bp[django]'") from _no_django

from ..errors import ConfigurationError
from ..health import CeleryHealth
from ..settings import Settings, without_app


def health_of_project() -> CeleryHealth:
    """Return the ``CeleryHealth`` of the Django project, with the settings in ``CELERY_HEALTH``.

    Raises:
        ConfigurationError: a setting is wrong, or ``app`` cannot be imported.
    """
    mapping = getattr(django_settings, "CELERY_HEALTH", {})
    settings = Settings.from_mapping(without_app("CELERY_HEALTH", mapping))
    return CeleryHealth(_celery_app(mapping.get("app")), settings)


def _celery_app(path: Any) -> Celery:
    """Return the app for ``CELERY_HEALTH["app"]``: an app, its dotted path, or ``None``."""
    if path is None:
        return current_app._get_current_object()
    try:
        app = symbol_by_name(path)
    except (ImportError, AttributeError, ValueError):
        app = None
    if not isinstance(app, Celery):
        raise ConfigurationError(
            f"CELERY_HEALTH['app']={path!r} is no Celery app that can be imported: give its dotted path"
        )
    return app
