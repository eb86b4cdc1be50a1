"""``python manage.py celery_health``: the same command as ``flask celery-health``."""

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
    """Passes its arguments to the command in ``cli.command``."""

    help = "Say whether Celery works. Exit code 0: healthy or degraded, 1: unhealthy, 2: wrong usage."
    requires_system_checks: tuple[str, ...] = ()
    _nagios = False

    def run_from_argv(self, argv: list[str]) -> None:
        """Remember whether ``--nagios`` was given, for errors of the parser."""
        self._nagios = "--nagios" in argv
        super().run_from_argv(argv)

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the options of click's command to the argparse parser."""
        for option in OPTIONS:
            kind: dict[str, Any] = {"action": "store_true"} if option.is_flag else {"type": _converter(option)}
            if option.metavar is not None:
                kind["metavar"] = option.metavar.strip("[]")
            if option.name == "watch":
                kind |= {"nargs": "?", "const": WATCH_SECONDS}
            parser.add_argument(*option.opts, default=getattr(Options, str(option.name)), help=option.help, **kind)
        parser.add_argument("--skip-checks", action="store_true", help=SUPPRESS)  # this command runs no checks
        if self._nagios:
            parser.error = _unknown

    def handle(self, *_: Any, **options: Any) -> None:
        """Check and print the report; exit if the exit code is not 0."""
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
    """Return an argparse type for the type of a click option."""

    def convert(text: str) -> Any:
        try:
            return option.type.convert(text, option, None)
        except click.BadParameter as exc:
            raise ArgumentTypeError(exc.message) from exc

    return convert


def _unknown(message: str) -> NoReturn:
    sys.exit(unknown(message))
