"""A Celery app with its name, queue and key prefix from the environment, so that several can share a Redis."""

from __future__ import annotations

import os

from celery import Celery

from celery_health_bp import MonitoredTask

app = Celery(os.environ.get("TENANT_NAME", "tenant"), broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue=os.environ.get("TENANT_QUEUE", "celery"),
)
if os.environ.get("TENANT_KEY_PREFIX"):
    app.conf.broker_transport_options = {"global_keyprefix": os.environ["TENANT_KEY_PREFIX"]}

#: Transport options for the SQS server of moto, which has no TLS.
SQS = {"is_secure": False, "region": "us-east-1", "polling_interval": 0.1, "wait_time_seconds": 1}
if str(app.conf.broker_url).startswith("sqs:"):
    app.conf.broker_transport_options = SQS


@app.task(base=MonitoredTask, name="tenant.work")
def work(customer_id: str = "acme") -> str:
    """Return."""
    return customer_id
