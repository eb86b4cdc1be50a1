"""``flask celery-health`` as people and scripts run it: a subprocess."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.flask_command import run


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--nagios", "--format", "json"], "--nagios and --format json exclude each other"),
        (["--nagios", "--nothing"], "No such option"),
        (["--timeout", "x|y\n", "--nagios"], "Invalid value for '--timeout': 'x/y\\n' is not a valid float"),
    ],
)
def test_nagios_is_told_of_wrong_usage_as_unknown(options: list[str], message: str) -> None:
    """2 is CRITICAL to Nagios: usage that is wrong is one line on standard output, and exit code 3."""
    done = run("memory://", *options)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (3, 1, "")
    assert done.stdout.startswith(f"CELERY UNKNOWN - {message}")


def test_nagios_is_told_of_a_crash_as_unknown() -> None:
    """An exception of the user's factory is no verdict: exit code 3 and its type, the traceback on standard error."""
    crash = "from celery_health_bp.cli.command import *; health_command(lambda: 1/0, 'x').main(['--nagios'])"
    done = subprocess.run([sys.executable, "-c", crash], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (3, "CELERY UNKNOWN - ZeroDivisionError: see the traceback\n")
    assert "ZeroDivisionError: division by zero" in done.stderr
