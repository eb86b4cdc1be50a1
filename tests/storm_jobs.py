"""Jobs that tell Redis themselves how often they began, for tests that kill them."""

from __future__ import annotations

import os
import time

from celery import Celery
from redis import Redis

from celery_health_bp import MonitoredTask

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"), task_cls=MonitoredTask)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4)

#: A list with the time of each beginning, and the pool processes that may be killed now.
BEGAN, RUNNING = "tests:began", "tests:running"


def _run() -> None:
    redis = Redis.from_url(str(app.conf.broker_url))
    pipeline = redis.pipeline()
    pipeline.rpush(BEGAN, time.time()).sadd(RUNNING, os.getpid()).execute()
    time.sleep(0.01)
    if not redis.srem(RUNNING, os.getpid()):
        time.sleep(60)  # chosen: the kill is on its way, and must hit this attempt
    redis.close()


@app.task
def early(customer_id: int) -> None:
    """Run for a moment; its message is gone when it is killed."""
    _run()


@app.task(acks_late=True, reject_on_worker_lost=True)
def late(customer_id: int) -> None:
    """Run for a moment; its message comes again when it is killed."""
    _run()
