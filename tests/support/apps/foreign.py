"""A Celery app without this package."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("foreign", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.broker_connection_retry_on_startup = True


@app.task
def nap(seconds: float) -> None:
    """Sleep for so many seconds."""
    time.sleep(seconds)
