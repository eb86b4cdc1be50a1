"""The default Celery app of the tests. Its broker is ``CELERY_BROKER_URL``."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

from celery import Celery, Task, shared_task
from celery.exceptions import Ignore, Reject

from celery_health_bp import MonitoredTask, monitor_task

broker_url = os.environ.get("CELERY_BROKER_URL", "memory://")

app = Celery("upstream", broker=broker_url)
app.conf.update(
    result_backend=os.environ.get("CELERY_RESULT_BACKEND"),
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=1,
    task_track_started=False,
    worker_pool_restarts=True,
)


class DatabaseError(Exception):
    """An error of the user's code."""


class Unpicklable(Exception):
    """An exception that cannot be pickled, so no child can send it to the main process."""

    def __init__(self, message: str, lock: Any) -> None:
        super().__init__(message, lock)


@app.task(base=MonitoredTask)
def work(customer_id: Any = None, seconds: float = 0) -> str:
    """Sleep for so many seconds, then return."""
    time.sleep(seconds)
    return "done"


@app.task(base=MonitoredTask)
def fail(customer_id: Any = None) -> None:
    """Raise the user's error."""
    raise DatabaseError("no such table")


@app.task(base=MonitoredTask, bind=True, max_retries=2)
def retry(self: Task, customer_id: Any = None) -> None:
    """Ask for a retry twice, then fail."""
    try:
        raise DatabaseError("locked")
    except DatabaseError as exc:
        raise self.retry(exc=exc, countdown=0) from exc


@app.task(base=MonitoredTask, autoretry_for=(DatabaseError,), default_retry_delay=0, max_retries=1)
def autoretry(customer_id: Any = None) -> None:
    """Fail after one automatic retry."""
    raise DatabaseError("locked")


@app.task(base=MonitoredTask)
def ignore(customer_id: Any = None) -> None:
    """Raise ``Ignore``."""
    raise Ignore


@app.task(base=MonitoredTask, acks_late=True)
def reject(customer_id: Any = None) -> None:
    """Reject the message without requeueing it."""
    raise Reject("no", requeue=False)


@app.task(base=MonitoredTask, acks_late=True, bind=True)
def requeue(self: Task, customer_id: Any = None) -> str:
    """Requeue the message once; return on its redelivery."""
    if not self.request.delivery_info.get("redelivered"):
        raise Reject("again", requeue=True)
    return "done"


@app.task(base=MonitoredTask)
def unpicklable(customer_id: Any = None) -> None:
    """Raise an exception that cannot be pickled."""
    raise Unpicklable("lock", threading.Lock())


@app.task(base=MonitoredTask)
def kill(customer_id: Any = None) -> None:
    """Kill its own process."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(base=MonitoredTask)
def os_exit(customer_id: Any = None) -> None:
    """End its own process with ``os._exit``."""
    os._exit(3)


@app.task(base=MonitoredTask)
def sys_exit(customer_id: Any = None) -> None:
    """Call ``sys.exit``."""
    sys.exit(3)


@app.task(base=MonitoredTask)
def unserialisable(customer_id: Any = None) -> object:
    """Return a value that cannot be serialised."""
    return object()


@app.task(base=MonitoredTask)
def positional(first: int, second: int, customer_id: Any = None) -> int:
    """Take the customer as the third positional argument."""
    return first + second


@app.task(base=MonitoredTask)
def no_customer(number: int) -> int:
    """Take no customer argument."""
    return number


@shared_task(name="tests.support.apps.jobs.decorated")
@monitor_task
def decorated(customer_id: Any = None) -> str:
    """Return. Counted through the decorator."""
    return "done"


@app.task(bind=True, autoretry_for=(DatabaseError,), default_retry_delay=0, max_retries=1)
@monitor_task
def decorated_bound(self: Task, customer_id: Any = None) -> None:
    """Fail after one retry. Bound, and counted through the decorator."""
    raise DatabaseError("locked")


@app.task
def plain(customer_id: Any = None, seconds: float = 0) -> str:
    """Sleep for so many seconds, then return. Not counted."""
    time.sleep(seconds)
    return "done"
