"""A Celery app with one ``MonitoredTask`` and seven plain tasks."""

from __future__ import annotations

import os

from celery import Celery

from celery_health_bp import MonitoredTask

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.broker_connection_retry_on_startup = True


def work() -> str:
    """Return."""
    return "done"


app.task(name="jobs.counted", base=MonitoredTask)(work)
for name in "gfedcb":
    app.task(name=f"jobs.{name}")(work)
app.task(name=f"jobs.a{'a' * 1000}")(work)
