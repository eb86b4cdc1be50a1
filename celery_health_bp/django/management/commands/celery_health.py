"""``python manage.py celery_health``: the command that ``flask celery-health`` is too."""

from __future__ import annotations

import sys
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NoReturn

import click
from django.core.management.base import BaseCommand, CommandParser

from ....cli.command import run, unknown
from ....cli.options import OPTIONS, WATCH_SECONDS, Options
from ... import health_of_project


class Command(BaseCommand):  # type: ignore[misc]  # django ships no types
    """Hands its arguments to the one command that all three are."""

    help = "Say whether Celery works. Exit code 0: healthy or degraded, 1: unhealthy, 2: wrong usage."
    requires_system_checks: tuple[str, ...] = ()
    _nagios = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Called by ``manage.py``."""
        self._nagios = "--nagios" in argv
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        """The options of click's command, for argparse."""
        for option in OPTIONS:
            kind: dict[str, Any] = {"action": "store_true"} if option.is_flag else {"type": _converter(option)}
            if option.metavar is not None:
                kind["metavar"] = option.metavar.strip("[]")
            if option.name == "watch":
                kind |= {"nargs": "?", "const": WATCH_SECONDS}
            parser.add_argument(*option.opts, default=getattr(Options, str(option.name)), help=option.help, **kind)
        parser.add_argument("--skip-checks", action="store_true", help=SUPPRESS)  # it runs none
        if self._nagios:
            parser.error = _unknown

    def handle(self, *_: Any, **options: Any) -> None:
        """Check and print; a verdict or an error that is not exit code 0 ends the process with it."""
        given = {str(option.name): options[str(option.name)] for option in OPTIONS}
        colour = False if options["no_color"] else options["force_color"] or None
        with (
            redirect_stdout(options.get("stdout") or sys.stdout),
            redirect_stderr(options.get("stderr") or sys.stderr),
        ):
            code = run(health_of_project, Options(**given, color=colour))
        if code:
            sys.exit(code)


def _converter(option: click.Option) -> Callable[[str], Any]:
    """The type of a click option as a type of argparse."""

    def convert(text: str) -> Any:
        try:
            return option.type.convert(text, option, None)
        except click.BadParameter as exc:
            raise ArgumentTypeError(exc.message) from exc

    return convert


def _unknown(message: str) -> NoReturn:
    sys.exit(unknown(message))
