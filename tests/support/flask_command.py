"""Run ``flask celery-health`` in a process."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT, celery_environ


def run(broker_url: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command on the Flask application of ``tests.support.web``."""
    command = [sys.executable, "-m", "flask", "--app", "tests.support.web:create_app()", "celery-health", *options]
    return subprocess.run(
        command,
        env=celery_environ(broker_url, environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
