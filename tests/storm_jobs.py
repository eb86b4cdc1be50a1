"""Jobs that tell Redis themselves how often they began, for tests that kill them."""

from __future__ import annotations

import os
import time

from celery import Celery, Task
from redis import Redis

from celery_health_bp import MonitoredTask

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"), task_cls=MonitoredTask)
app.conf.update(broker_connection_retry_on_startup=True, worker_prefetch_multiplier=4)

#: A list with the time of each beginning, and the pool processes that may be killed now.
BEGAN, RUNNING = "tests:began", "tests:running"


@app.task(bind=True)
def killable(self: Task, customer_id: int) -> None:
    """Begin, wait until the main process knows of it, and run for a moment in which it may be killed.

    What is killed before the main process has read of its acceptance, Celery
    runs again without a word: nobody but the job itself can count that.
    """
    with Redis.from_url(str(app.conf.broker_url)) as redis:
        redis.rpush(BEGAN, time.time())
        while any(self.request.id.encode() in message for message in redis.hvals("unacked")):
            time.sleep(0.001)  # acknowledged when accepted
        redis.sadd(RUNNING, os.getpid())
        time.sleep(0.01)
        if not redis.srem(RUNNING, os.getpid()):
            time.sleep(60)  # chosen: the kill is on its way, and must hit this attempt
