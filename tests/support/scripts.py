"""Python code that tests run in a process."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT, celery_environ

#: One check, then a normal end of the interpreter.
ONE_CHECK = """
from tests.support.apps.jobs import app
from celery_health_bp import CeleryHealth, Settings
print(CeleryHealth(lambda: app, Settings()).check().status)
"""


def run_code(code: str, broker_url: str, *arguments: str) -> list[str]:
    """Run Python code, and return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=celery_environ(broker_url),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()
