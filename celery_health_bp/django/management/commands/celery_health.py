"""``python manage.py celery_health``: the command that ``flask celery-health`` is too."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from ....cli.command import Options, health_command, run
from ... import health_of_project


class Command(BaseCommand):  # type: ignore[misc]  # django ships no types
    """Hands its arguments to the one command that all three are."""

    help = "Say whether Celery works."
    requires_system_checks: tuple[str, ...] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Called by ``manage.py``: options, output and exit codes are the command's own."""
        health_command(health_of_project, "celery_health").main(argv[2:], prog_name=" ".join(argv[:2]))

    def handle(self, *_: Any, **options: Any) -> None:
        """Called by ``call_command("celery_health", verbose=True)``."""
        fields = {name: options[name] for name in Options.__dataclass_fields__ if name in options}
        sys.exit(run(health_of_project, Options(**fields)))
