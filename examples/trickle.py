"""Sends jobs of every kind for several customers, about two per second, until the process is stopped."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from itertools import count
from typing import Any

from kombu.exceptions import OperationalError

from . import tasks
from .flask_app import celery_app

CUSTOMERS = ("acme", "globex", "initech", "umbrella")
PAUSE_SECONDS = 0.5


def jobs(draw: random.Random) -> Iterator[Any]:
    """Yield signatures of jobs forever: a long job first, then each kind in turn with new arguments."""
    yield tasks.run_drift_detection.s(CUSTOMERS[0], rows=1_500_000)
    yield tasks.send_scheduled_report.s(CUSTOMERS[0]).set(countdown=30)
    for number in count(draw.randrange(1_000_000)):
        yield from (
            tasks.run_drift_detection.s(draw.choice(CUSTOMERS), window=number, rows=draw.choice((20_000, 400_000))),
            tasks.send_alert.s(draw.choice(CUSTOMERS), text=f"drift in window {number}"),
            tasks.send_webhook.s(draw.choice(CUSTOMERS), event=number),
            tasks.process_ingestion.s(draw.choice(CUSTOMERS), batch=number),
            tasks.send_scheduled_report.s(draw.choice(CUSTOMERS)).set(countdown=draw.randint(10, 60)),
            tasks.compute_report_drift.s(draw.choice(CUSTOMERS), day=number),
            tasks.generate_report_artifact.s(draw.choice(CUSTOMERS)),
        )


def main() -> None:
    """Send jobs until the process is stopped."""
    celery_app.set_default()
    for job in jobs(random.Random()):
        try:
            job.apply_async()
        except OperationalError:
            print("The broker did not take a job; going on", file=sys.stderr, flush=True)
        time.sleep(PAUSE_SECONDS * random.uniform(0.5, 1.5))


if __name__ == "__main__":
    main()
