"""For Django: a management command and a system check. The endpoints need neither.

``CELERY_HEALTH`` in the settings holds the fields of ``Settings`` and ``app``, the
dotted path of the Celery app; without it the project's default app is used.
"""

from __future__ import annotations

from typing import Any

from celery import current_app
from kombu.utils.imports import symbol_by_name

try:
    from django.conf import settings as django_settings
except ModuleNotFoundError as _no_django:
    raise ModuleNotFoundError("Django is not installed: pip install 'celery-health-bp[django]'") from _no_django

from ..errors import ConfigurationError
from ..health import CeleryHealth
from ..settings import Settings


def health_of_project() -> CeleryHealth:
    """Health of the Django project's Celery app, with the settings in ``CELERY_HEALTH``.

    Raises:
        ConfigurationError: a setting is wrong, or ``app`` cannot be imported.
    """
    mapping: dict[str, Any] = dict(getattr(django_settings, "CELERY_HEALTH", {}))
    app = _celery_app(mapping.pop("app", None))
    return CeleryHealth(lambda: app, Settings.from_mapping(mapping))


def _celery_app(path: Any) -> Any:
    if path is None:
        return current_app._get_current_object()
    try:
        return symbol_by_name(path)
    except (ImportError, AttributeError, ValueError) as exc:
        raise ConfigurationError(
            f"CELERY_HEALTH['app']={path!r} cannot be imported: give the dotted path of the Celery app"
        ) from exc
