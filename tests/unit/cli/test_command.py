"""``flask celery-health``: wrong usage and crashes, run in this process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from celery import Celery
from click.testing import CliRunner
from flask import Flask

from celery_health_bp.cli.command import health_command


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nagios", "--format", "json"], "--nagios and --format json exclude each other"),
        (["--nagios", "--nothing"], "No such option"),
        (["--timeout", "x|y\n", "--nagios"], "Invalid value for '--timeout': 'x/y\\n' is not a valid float"),
    ],
)
def test_wrong_usage_is_unknown_to_nagios(make_app: Callable[..., Flask], options: list[str], message: str) -> None:
    """It prints one line on standard output and exits with 3: click's 2 would be CRITICAL."""
    app = make_app(Celery(broker="memory://", set_as_current=False))
    done = app.test_cli_runner().invoke(args=["celery-health", *options])
    assert (done.exit_code, done.stdout.count("\n"), done.stderr) == (3, 1, "")
    assert done.stdout.startswith(f"CELERY UNKNOWN - {message}")


def test_a_crash_is_unknown_to_nagios() -> None:
    """An exception of the user's factory exits with 3 and names its class; the traceback goes to standard error."""
    done = CliRunner().invoke(health_command(lambda: 1 / 0, "x"), ["--nagios"])  # type: ignore[arg-type,return-value]
    assert (done.exit_code, done.stdout) == (3, "CELERY UNKNOWN - ZeroDivisionError: see the traceback\n")
    assert "ZeroDivisionError: division by zero" in done.stderr
