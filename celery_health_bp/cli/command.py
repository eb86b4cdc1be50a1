"""The one command behind ``flask celery-health``, ``celery health`` and ``manage.py celery_health``."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import sys
from collections.abc import Callable
from threading import Event
from typing import Any

import click

from ..errors import CeleryHealthError
from ..health import CeleryHealth
from ..notes import logger as notes
from ..report import DEGRADED, HEALTHY, UNHEALTHY, HealthReport
from ..schemas import health_body
from ..settings import Settings
from .render import headline, lines, nagios_line

#: 2 is click's code for wrong usage, and reserved by Docker: never a verdict.
EXIT_CODES = {HEALTHY: 0, DEGRADED: 0, UNHEALTHY: 1}
EXIT_USAGE = 2
#: Monitoring plugins give 1, 2 and 3 meanings of their own.
NAGIOS_EXIT_CODES = {HEALTHY: 0, DEGRADED: 1, UNHEALTHY: 2}
NAGIOS_UNKNOWN = 3

COLOURS = {HEALTHY: "green", DEGRADED: "yellow", UNHEALTHY: "red"}
#: Where nobody has set up logging, Python prints warnings on standard error: not those that the report has.
SILENT = logging.NullHandler()
HOME_AND_CLEAR = "\x1b[H\x1b[2J"


@dataclasses.dataclass(frozen=True)
class Options:
    """What the user asked for; the fields are the options of the command.

    Attributes:
        timeout: deadline in seconds; ``None``: the setting.
        watch: seconds between two checks; ``None``: one check.
    """

    verbose: bool = False
    format: str = "text"
    timeout: float | None = None
    watch: float | None = None
    nagios: bool = False


def health_command(find_health: Callable[[], CeleryHealth], name: str) -> click.Command:
    """The command; ``find_health`` is called when it runs."""

    def command(**options: Any) -> None:
        """Say whether Celery works.

        Exit code 0: healthy or degraded, 1: unhealthy, 2: wrong usage.
        """
        sys.exit(run(find_health, Options(**options)))

    for option in (
        click.option("--nagios", is_flag=True, help="One line with perfdata; exit code 0, 1, 2 or 3."),
        click.option(
            "--watch",
            is_flag=False,
            flag_value=2.0,
            type=click.FloatRange(min=0.1),
            metavar="[SECONDS]",
            help="Check every 2 (or so many) seconds until Ctrl-C.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="SECONDS",
            help="Deadline of a check; the setting timeout_seconds if not given.",
        ),
        click.option(
            "--format",
            type=click.Choice(["text", "json"]),
            default="text",
            show_default=True,
            help="Text, or the body of health/.",
        ),
        click.option("--verbose", is_flag=True, help="Add workers, queues, running and scheduled tasks."),
    ):
        command = option(command)
    return click.command(name)(command)


def run(find_health: Callable[[], CeleryHealth], options: Options) -> int:
    """Check and print, on standard output the report alone; the exit code."""
    notes.addHandler(SILENT)
    try:
        given = find_health()
        settings = dataclasses.replace(
            given.settings, cache_seconds=0, timeout_seconds=options.timeout or given.settings.timeout_seconds
        )
        health = CeleryHealth(lambda: given.app, settings)
        report = _check(health, options)
        health.close()
    except CeleryHealthError as exc:
        if options.nagios:
            click.echo(f"CELERY UNKNOWN - {exc}")
            return NAGIOS_UNKNOWN
        click.echo(f"Error: {exc}", err=True)
        return EXIT_USAGE
    return (NAGIOS_EXIT_CODES if options.nagios else EXIT_CODES)[report.status]


def _check(health: CeleryHealth, options: Options) -> HealthReport:
    """Print one report, or one after the other; the last one is returned."""
    while True:
        report = health.check()
        text = render(report, health.settings, options)
        in_place = options.watch is not None and sys.stdout.isatty()
        click.echo(HOME_AND_CLEAR + text if in_place else text)
        if options.watch is None:
            return report
        try:
            Event().wait(options.watch)
        except KeyboardInterrupt:
            return report


def render(report: HealthReport, settings: Settings, options: Options) -> str:
    """The report as the options want it."""
    if options.nagios:
        return nagios_line(report, settings)
    if options.format == "json":
        return json.dumps(health_body(report, verbose=options.verbose), indent=2)
    first = headline(report, settings)
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        first = click.style(first, fg=COLOURS[report.status], bold=True)
    return "\n".join([first, *lines(report, settings, verbose=options.verbose)])
