"""The command behind ``flask celery-health``, ``celery health`` and ``manage.py celery_health``.

``celery`` imports this module for each of its commands, ``celery worker`` too. What only
the health command needs is imported when it runs: that takes a fifth of the start.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing
from threading import Event
from typing import TYPE_CHECKING, Any

import click

from ..errors import CeleryHealthError
from ..notes import logger as notes
from ..report import DEGRADED, HEALTHY, UNHEALTHY, HealthReport
from ..settings import Settings
from .options import OPTIONS, Options
from .render import fitted, headline, lines, nagios_line, nagios_unknown

if TYPE_CHECKING:
    from ..health import CeleryHealth

#: Never 2: click exits with 2 on wrong usage, and Docker reserves it.
EXIT_CODES = {HEALTHY: 0, DEGRADED: 0, UNHEALTHY: 1}
EXIT_USAGE = 2
#: Exit codes of monitoring plugins: OK, WARNING, CRITICAL; and UNKNOWN.
NAGIOS_EXIT_CODES = {HEALTHY: 0, DEGRADED: 1, UNHEALTHY: 2}
NAGIOS_UNKNOWN = 3

COLOURS = {HEALTHY: "green", DEGRADED: "yellow", UNHEALTHY: "red"}
#: Without logging configured, Python prints warnings on standard error. This handler drops those that are also
#: in the report.
SILENT = logging.NullHandler()
HOME_AND_CLEAR = "\x1b[H\x1b[2J"


class _Command(click.Command):
    """Reports wrong usage as UNKNOWN with ``--nagios``: click's exit code 2 would mean CRITICAL."""

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        nagios = "--nagios" in args
        try:
            return super().make_context(info_name, args, *rest, **extra)
        except click.UsageError as exc:
            if not nagios:
                raise
            sys.exit(unknown(exc.format_message()))


def health_command(find_health: Callable[[], CeleryHealth], name: str) -> click.Command:
    """Return the click command.

    Arguments:
        find_health: returns the health to check; called when the command runs.
        name: name of the command.
    """

    def command(**options: Any) -> None:
        """Say whether Celery works.

        Exit code 0: healthy or degraded, 1: unhealthy, 2: wrong usage.
        """
        sys.exit(run(find_health, Options(**options)))

    return _Command(name, callback=command, params=list(OPTIONS), help=command.__doc__)


def unknown(message: str) -> int:
    """Print a line with the state UNKNOWN for Nagios, and return the exit code."""
    click.echo(nagios_unknown(message))
    return NAGIOS_UNKNOWN


def run(find_health: Callable[[], CeleryHealth], options: Options) -> int:
    """Check, print the report on standard output, and return the exit code.

    Arguments:
        find_health: returns the health to check; its errors are printed too.
        options: the options of the command.
    """
    from ..health import CeleryHealth

    notes.addHandler(SILENT)
    try:
        options.check()
        given = find_health()
        timeout = given.settings.timeout_seconds if options.timeout is None else options.timeout
        settings = dataclasses.replace(given.settings, cache_seconds=0, timeout_seconds=timeout)
        with closing(CeleryHealth(given.app, settings)) as health:
            report = _check(health, options)
    except CeleryHealthError as exc:
        if options.nagios:
            return unknown(str(exc))
        click.echo(f"Error: {exc}", err=True)
        return EXIT_USAGE
    except Exception as exc:
        if not options.nagios:
            raise
        traceback.print_exc()
        return unknown(f"{type(exc).__name__}: see the traceback")
    return (NAGIOS_EXIT_CODES if options.nagios else EXIT_CODES)[report.status]


def _check(health: CeleryHealth, options: Options) -> HealthReport:
    """Print one report, or with ``--watch`` one after another until Ctrl-C; return the last one."""
    report = None
    while True:
        try:
            report = health.check()
            click.echo(_screen(report, health.settings, options), color=options.color)
            if options.watch is None:
                return report
            Event().wait(options.watch)
        except KeyboardInterrupt:
            if report is None:
                raise
            return report


def _screen(report: HealthReport, settings: Settings, options: Options) -> str:
    """Return the text to print. With ``--watch``, it begins with the time, and replaces the last one on a terminal."""
    text = render(report, settings, options)
    if options.watch is None or options.nagios or options.format == "json":
        return text
    text = f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(report.observation.taken_at))}\n{text}"
    if not sys.stdout.isatty():
        return text
    columns, rows = shutil.get_terminal_size()
    return HOME_AND_CLEAR + fitted(text, columns, rows - 1)  # the cursor takes the last row


def render(report: HealthReport, settings: Settings, options: Options) -> str:
    """Return the report in the format that the options select."""
    if options.nagios:
        return nagios_line(report, settings)
    if options.format == "json":
        return json.dumps(_json_body(report, verbose=options.verbose), indent=2)
    first = headline(report, settings)
    on_terminal = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if on_terminal if options.color is None else options.color:
        first = click.style(first, fg=COLOURS[report.status], bold=True)
    return "\n".join([first, *lines(report, settings, verbose=options.verbose)])


def _json_body(report: HealthReport, *, verbose: bool) -> dict[str, Any]:
    """Return the body of ``health/``. With ``verbose``, add the keys of ``tasks/``, null if they are not known."""
    from ..schemas import health_body, tasks_body

    body = health_body(report, verbose=verbose)
    observation = report.observation
    if verbose and observation.workers and observation.problem is None and not observation.unread:
        body |= tasks_body(observation.running, observation.scheduled, sys.maxsize)
    elif verbose:
        body |= dict.fromkeys(("running", "scheduled", "running_count"))
    return body
