"""The click command behind ``flask celery-health`` and its relatives."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable

import click

from ..errors import CeleryHealthError
from ..health import CeleryHealth
from ..report import DEGRADED, HEALTHY, UNHEALTHY
from ..schemas import health_body
from .render import headline, lines

#: 2 is click's code for wrong usage, and reserved by Docker: never a verdict.
EXIT_CODES = {HEALTHY: 0, DEGRADED: 0, UNHEALTHY: 1}
EXIT_USAGE = 2
COLOURS = {HEALTHY: "green", DEGRADED: "yellow", UNHEALTHY: "red"}


def health_command(find_health: Callable[[], CeleryHealth], name: str) -> click.Command:
    """The command; ``find_health`` is called when it runs."""

    @click.command(name)
    @click.option("--verbose", is_flag=True, help="Add each worker and its running and scheduled tasks.")
    @click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
    @click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Deadline of the check; the setting timeout_seconds if not given.",
    )
    def command(verbose: bool, form: str, timeout: float | None) -> None:
        """Say whether Celery works. Exit code 0: healthy or degraded, 1: unhealthy, 2: wrong usage."""
        try:
            health = find_health()
            if timeout is not None:
                settings = dataclasses.replace(health.settings, timeout_seconds=timeout)
                health = CeleryHealth(lambda app=health.app: app, settings)  # type: ignore[misc]
            sys.exit(report_health(health, verbose=verbose, form=form))
        except CeleryHealthError as exc:
            raise click.UsageError(str(exc)) from exc

    return command


def report_health(health: CeleryHealth, *, verbose: bool, form: str) -> int:
    """Print the report on standard output and return its exit code."""
    report = health.check()
    if form == "json":
        click.echo(json.dumps(health_body(report, verbose=verbose), indent=2))
    else:
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        first = headline(report, health.settings)
        click.echo(click.style(first, fg=COLOURS[report.status], bold=True) if coloured else first)
        for line in lines(report, verbose=verbose):
            click.echo(line)
    health.close()
    return EXIT_CODES[report.status]
