"""Checks in a loop while a signal handler checks too: ``BROKER SECONDS``.

Prints the longest time that a check took, and how many checks were a handler's.
"""

from __future__ import annotations

import faulthandler
import signal
import sys
import time
from typing import Any

from celery import Celery

from celery_health_bp import CeleryHealth, Settings

BROKER, SECONDS = sys.argv[1], float(sys.argv[2])
#: The handler's own check takes some milliseconds too; ``setitimer`` is armed again after it, at changing times.
STEPS, STEP_SECONDS = 97, 0.0001

settings = Settings(cache_seconds=0, timeout_seconds=0.5, metrics_store="control")
took: list[float] = []


def check(health: CeleryHealth) -> None:
    """One check."""
    began = time.monotonic()
    health.check()
    took.append(time.monotonic() - began)


def main() -> None:
    """Check with one health after the other: the first use of each is interrupted as well."""
    health = current = CeleryHealth(lambda: Celery("upstream", broker=BROKER, set_as_current=False), settings)
    handled = 0

    def arm() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.0001 + handled % STEPS * STEP_SECONDS)

    def handle(*_: Any) -> None:
        nonlocal handled
        handled += 1
        check(current)
        arm()

    faulthandler.dump_traceback_later(SECONDS + 20, exit=True)
    signal.signal(signal.SIGALRM, handle)
    until = time.monotonic() + SECONDS
    arm()
    while time.monotonic() < until:
        current = CeleryHealth(lambda: Celery("upstream", broker=BROKER, set_as_current=False), settings)
        for _ in range(20):
            check(current)
    signal.setitimer(signal.ITIMER_REAL, 0)
    health.close()
    print(max(took), handled)


if __name__ == "__main__":
    main()
