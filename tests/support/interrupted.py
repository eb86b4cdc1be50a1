"""Check in a loop while a signal handler checks too. Arguments: ``BROKER SECONDS``.

Prints the longest duration of a check in seconds, and how many checks the handler made.
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
#: The handler's check takes some milliseconds; afterwards the timer is set again, with a changing delay.
STEPS, STEP_SECONDS = 97, 0.0001

settings = Settings(cache_seconds=0, timeout_seconds=0.5, metrics_store="control")
took: list[float] = []


def check(health: CeleryHealth) -> None:
    """Check once, and record the duration."""
    began = time.monotonic()
    health.check()
    took.append(time.monotonic() - began)


def main() -> None:
    """Check with a new health every 20 checks, so that first uses are interrupted too."""
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
