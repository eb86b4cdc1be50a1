"""One run at a time for all who ask, whatever becomes of it."""

from __future__ import annotations

import subprocess
import sys

from tests.support.processes import ROOT
from tests.support.servers import free_port


def test_a_signal_handler_may_check_whatever_it_has_interrupted() -> None:
    """A process checks in a loop, and so does its handler of a timer: each check ends by its deadline."""
    command = [sys.executable, "-m", "tests.support.interrupted", f"redis://127.0.0.1:{free_port()}/0", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    longest, handled = map(float, done.stdout.split())
    assert longest < 2  # a deadline of 0.5 s, and the handler's own check
    assert handled > 5
