"""Jobs that record in Redis how they started and ended, to compare counts with.

With ``PROMETHEUS_MULTIPROC_DIR`` set, the worker's processes also count with prometheus_client.
"""

from __future__ import annotations

import os
import sys
import time

from celery import Celery, Task, signals
from celery.exceptions import Ignore, SoftTimeLimitExceeded
from prometheus_client import Counter
from redis import Redis

from celery_health_bp import MonitoredTask
from tests.support.killing import allow_kill

#: Redis hash: number of attempts that started, and that ended in each way.
TRUTH = "accuracy:truth"
LIMIT_SECONDS = 2  # long enough to record the start on a busy machine

app = Celery("upstream", broker=os.environ.get("CELERY_BROKER_URL", "memory://"), task_cls=MonitoredTask)
app.conf.update(
    broker_connection_retry_on_startup=True,
    worker_lost_wait=1.0,  # how long Celery waits for the result of a process that has died
)


def record(*what: str) -> None:
    """Add one to each of these fields of the hash."""
    with Redis.from_url(str(app.conf.broker_url)) as redis, redis.pipeline() as pipe:
        for name in what:
            pipe.hincrby(TRUTH, name)
        pipe.execute()


@app.task
def work(customer_id: str) -> None:
    """Return."""
    record("started", "completed")


@app.task
def fail(customer_id: str) -> None:
    """Raise."""
    record("started", "failed")
    raise ValueError(customer_id)


@app.task(bind=True, default_retry_delay=0)
def retry(self: Task, customer_id: str) -> None:
    """Retry once, then return."""
    if self.request.retries:
        record("started", "completed")
        return
    record("started", "retried")
    raise self.retry(exc=ValueError(customer_id))


@app.task(soft_time_limit=LIMIT_SECONDS)
def soft_limit(customer_id: str) -> None:
    """Exceed the soft limit."""
    record("started")
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        record("failed")
        raise


@app.task(time_limit=LIMIT_SECONDS)
def hard_limit(customer_id: str) -> None:
    """Exceed the hard limit."""
    record("started", "failed")
    time.sleep(60)


@app.task
def sys_exit(customer_id: str) -> None:
    """Exit the pool process."""
    record("started", "failed", "WorkerLostError")
    sys.exit(3)


@app.task
def ignore(customer_id: str) -> None:
    """Raise ``Ignore``."""
    record("started", "aborted")
    raise Ignore


@app.task(bind=True)
def killable(self: Task, customer_id: str) -> None:
    """Run for a moment in which the benchmark may kill the pool process."""
    record("started")
    with Redis.from_url(str(app.conf.broker_url)) as redis:
        allow_kill(redis, self.request.id, seconds=0.02)
    record("completed")


if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    STARTED = Counter("child_started", "Attempts.", ["task_name"])
    COMPLETED = Counter("child_completed", "Attempts.", ["task_name"])
    FAILED = Counter("child_failed", "Attempts.", ["task_name", "error_type"])
    RETRIED = Counter("child_retried", "Attempts.", ["task_name"])

    @signals.task_prerun.connect
    def _started(sender: Task, **_: object) -> None:
        STARTED.labels(sender.name).inc()

    @signals.task_success.connect
    def _completed(sender: Task, **_: object) -> None:
        COMPLETED.labels(sender.name).inc()

    @signals.task_failure.connect
    def _failed(sender: Task, exception: BaseException, **_: object) -> None:
        FAILED.labels(sender.name, type(exception).__name__).inc()

    @signals.task_retry.connect
    def _retried(sender: Task, **_: object) -> None:
        RETRIED.labels(sender.name).inc()
