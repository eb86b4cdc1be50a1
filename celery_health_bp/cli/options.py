"""The options of the command: for click, which Flask and Celery use, and for Django's argparse."""

from __future__ import annotations

from dataclasses import dataclass

import click

from ..allowed import MAX_SECONDS
from ..errors import ConfigurationError

FORMATS = ("text", "json")
WATCH_SECONDS, MIN_WATCH_SECONDS = 2.0, 0.1


@dataclass(frozen=True)
class Options:
    """What the user asked for; the fields are the options of the command.

    Attributes:
        format: one of ``FORMATS``.
        timeout: deadline in seconds; ``None``: the setting.
        watch: seconds between two checks; ``None``: one check.
        color: ``None``: on a terminal, without ``NO_COLOR``.
    """

    verbose: bool = False
    format: str = "text"
    timeout: float | None = None
    watch: float | None = None
    nagios: bool = False
    color: bool | None = None

    def check(self) -> None:
        """Refuse what cannot be; values may come from code too, such as Django's ``call_command``.

        Raises:
            ConfigurationError: names the option and what is allowed.
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
