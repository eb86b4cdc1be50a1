"""Run ``celery -A proj health`` in a process."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT, celery_environ

CELERY = [sys.executable, "-m", "celery"]
COMMAND = [*CELERY, "-A", "tests.support.apps.jobs:app", "health"]


def run(broker_url: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the app of ``tests.support.apps.jobs``.

    Arguments:
        options: command line options.
        environ: environment variables beside the broker's.
    """
    return run_arguments([*COMMAND, *options], broker_url, environ)


def run_arguments(command: list[str], broker_url: str, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a whole command line, and return its exit code and output."""
    return subprocess.run(
        command,
        env=celery_environ(broker_url, environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
