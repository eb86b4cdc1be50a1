"""Run ``flask celery-health`` in a process."""

from __future__ import annotations

import subprocess
import sys

from tests.support.celery_command import run_arguments


def run(broker_url: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the Flask application of ``tests.support.web``."""
    command = [sys.executable, "-m", "flask", "--app", "tests.support.web:create_app()", "celery-health", *options]
    return run_arguments(command, broker_url, environ)
