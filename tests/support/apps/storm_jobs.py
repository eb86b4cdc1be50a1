"""Jobs that record their own starts in Redis, for tests that kill them."""

from __future__ import annotations

import os
import time

from celery import Celery, Task
from redis import Redis

from celery_health_bp import MonitoredTask
from tests.support.killing import allow_kill

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"), task_cls=MonitoredTask)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4)

#: A list in Redis with the time of each start.
BEGAN = "tests:began"


@app.task(bind=True)
def killable(self: Task, customer_id: int) -> None:
    """Record the start, then run for a moment in which the pool process may be killed."""
    with Redis.from_url(str(app.conf.broker_url)) as redis:
        redis.rpush(BEGAN, time.time())
        allow_kill(redis, self.request.id, seconds=0.01)
