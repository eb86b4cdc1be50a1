"""A check in a signal handler, which may interrupt another check."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.processes import ROOT
from tests.support.servers import free_port


@pytest.mark.slow
def test_a_signal_handler_may_check_during_a_check() -> None:
    """Each check of a process and of its timer's handler ends by the deadline."""
    command = [sys.executable, "-m", "tests.support.interrupted", f"redis://127.0.0.1:{free_port()}/0", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    longest, handled = map(float, done.stdout.split())
    assert longest < 2  # a timeout of 0.5 s, and the check of the handler
    assert handled > 5
