"""``celery -A proj health``: the entry point of the group ``celery.commands``."""

from __future__ import annotations

import dataclasses
import os
import re
import sys
from typing import TYPE_CHECKING

import click

from ..settings import Settings
from .command import health_command

if TYPE_CHECKING:
    from ..health import CeleryHealth


def _health_of_app() -> CeleryHealth:
    """Return the ``CeleryHealth`` of the app given by ``-A``, with the settings of its configuration."""
    from ..health import CeleryHealth  # here: see command.py

    app = click.get_current_context().obj.app
    settings = Settings.from_celery(app)
    started_with = _app_of_command(sys.argv[1:]) or os.environ.get("CELERY_APP") or os.environ.get("APP")
    if settings.celery_app_argument is None and started_with:
        settings = dataclasses.replace(settings, celery_app_argument=started_with)
    return CeleryHealth(app, settings)


def _app_of_command(arguments: list[str]) -> str | None:
    """Return the value of ``-A``: Celery stores the app, not the argument."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        found = re.fullmatch(r"-A=?(.*)|--app(?:=(.*))?", argument)
        if found:
            return found[1] or found[2] or following
    return None


health: click.Command = health_command(_health_of_app, "health")
