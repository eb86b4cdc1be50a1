"""Two apps with the same task: ``app`` without this package, ``monitored`` with it and with any transport."""

from __future__ import annotations

import json
import os

from celery import Celery

from celery_health_bp import MonitoredTask

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
monitored = Celery("upstream", broker=str(app.conf.broker_url), task_cls=MonitoredTask)
monitored.conf.broker_transport_options = json.loads(os.environ.get("TRANSPORT_OPTIONS", "{}"))
for each in (app, monitored):
    each.conf.broker_connection_retry_on_startup = True


def work(customer_id: str) -> str:
    """Return."""
    return "done"


app.task(name="tests.support.apps.jobs.work")(work)
monitored.task(name="tests.support.apps.jobs.work")(work)
