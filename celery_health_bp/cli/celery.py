"""``celery -A proj health``: the command as Celery finds it by its entry point."""

from __future__ import annotations

import click

from ..health import CeleryHealth
from .command import health_command


def _health_of_app() -> CeleryHealth:
    """Health of the app that ``-A`` names, with the settings that the app carries."""
    app = click.get_current_context().obj.app
    return CeleryHealth(lambda: app)


health: click.Command = health_command(_health_of_app, "health")
