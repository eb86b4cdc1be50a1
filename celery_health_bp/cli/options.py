"""The options of the health command, for click (Flask, Celery) and argparse (Django)."""

from __future__ import annotations

from dataclasses import dataclass

import click

from ..allowed import MAX_SECONDS
from ..errors import ConfigurationError

FORMATS = ("text", "json")
WATCH_SECONDS, MIN_WATCH_SECONDS = 2.0, 0.1


@dataclass(frozen=True)
class Options:
    """The values of the options.

    Attributes:
        verbose: add workers, queues, running and scheduled tasks.
        format: one of ``FORMATS``.
        timeout: deadline of a check in seconds; ``None``: the setting ``timeout_seconds``.
        watch: seconds between two checks; ``None``: check once.
        nagios: print one line in the format of monitoring plugins.
        color: ``None``: on a terminal, unless ``NO_COLOR`` is set.
    """

    verbose: bool = False
    format: str = "text"
    timeout: float | None = None
    watch: float | None = None
    nagios: bool = False
    color: bool | None = None

    def check(self) -> None:
        """Validate the values, which may also come from code (Django's ``call_command``).

        Raises:
            ConfigurationError: a value is not allowed. The message names the option and what is allowed.
        """
        if self.format not in FORMATS:
            raise ConfigurationError(f"--format takes {' or '.join(FORMATS)}, not {self.format!r}")
        if self.nagios and self.format != "text":
            raise ConfigurationError(f"--nagios and --format {self.format} exclude each other")
        for name in ("timeout", "watch"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ConfigurationError(f"--{name} takes a number of seconds, not {value!r}")
        if self.watch is not None and not MIN_WATCH_SECONDS <= self.watch <= MAX_SECONDS:
            raise ConfigurationError(f"--watch takes seconds from {MIN_WATCH_SECONDS} to {MAX_SECONDS}")


OPTIONS = (
    click.Option(["--verbose"], is_flag=True, help="Add workers, queues, running and scheduled tasks."),
    click.Option(
        ["--format"],
        type=click.Choice(FORMATS),
        default="text",
        show_default=True,
        help="Text, or the body of health/.",
    ),
    click.Option(
        ["--timeout"],
        type=click.FloatRange(min=0, min_open=True, max=MAX_SECONDS),
        metavar="SECONDS",
        help="Deadline of a check; the setting timeout_seconds if not given.",
    ),
    click.Option(
        ["--watch"],
        is_flag=False,
        flag_value=WATCH_SECONDS,
        type=click.FloatRange(min=MIN_WATCH_SECONDS, max=MAX_SECONDS),
        metavar="[SECONDS]",
        help="Check every 2 (or so many) seconds until Ctrl-C.",
    ),
    click.Option(["--nagios"], is_flag=True, help="One line with perfdata; exit code 0, 1, 2 or 3."),
)
